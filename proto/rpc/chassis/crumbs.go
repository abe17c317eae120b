package chassis

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"
)

const (
	frameHeader = 9
	// crumb is a DATA frame with less than that: of one byte gRPC keeps many times as much,
	// until the message is whole.
	crumb = 1 << 10
	// mostCrumbs are those of a request, or of one message of an answer. A sender that is honest
	// has one or two, and some more where a window ends.
	mostCrumbs = 1000
	// crumbsEvery is what a request may have beyond them, for streams that go on.
	crumbsEvery = time.Second
	// mostOpen are the streams of a connection that have crumbs and no end.
	mostOpen = 8 * maxStreams
)

var (
	errCrumbs = errors.New("a message comes in too many frames that are nearly empty")
	errPadded = errors.New("a DATA frame is padded")
	errOpen   = errors.New("too many messages have begun and do not end")
)

// crumbs is a connection of HTTP/2 that ends when its peer sends messages in crumbs.
type crumbs struct {
	net.Conn
	log *slog.Logger
	// answers is whether the peer is a server, whose streams have many messages.
	answers bool
	skip    uint32 // bytes that are of no interest: the preface, payloads
	header  [frameHeader]byte
	have    int
	streams map[uint32]*stream
	data    *stream // of the DATA frame that is read now; may be nil
	err     error
}

// stream is what is known of one that has begun a message.
type stream struct {
	crumbs int
	since  time.Time
	prefix [5]byte // of gRPC before each message: whether it is compressed, and its size
	have   int
	left   uint32
}

func withoutCrumbs(conn net.Conn, answers bool, log *slog.Logger) net.Conn {
	c := &crumbs{Conn: conn, log: log, answers: answers, streams: map[uint32]*stream{}}
	if !answers {
		c.skip = uint32(len(http2.ClientPreface))
	}
	return c
}

// Read implements net.Conn. gRPC reads from one goroutine.
func (c *crumbs) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.err = c.look(p[:n]); c.err != nil {
		c.log.Warn("ended a connection", "peer", c.RemoteAddr().String(), "error", c.err)
		return 0, c.err
	}
	return n, err
}

func (c *crumbs) look(p []byte) error {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, uint32(len(p)))
			c.data.read(p[:n])
			c.skip -= n
			p = p[n:]
			if c.skip > 0 {
				return nil
			}
			c.whole()
			continue
		}
		n := copy(c.header[c.have:], p)
		c.have += n
		p = p[n:]
		if c.have < frameHeader {
			return nil
		}
		c.have = 0
		if err := c.frame(); err != nil {
			return err
		}
		if c.skip == 0 {
			c.whole()
		}
	}
	return nil
}

// frame is called when the header of one is there.
func (c *crumbs) frame() error {
	id := binary.BigEndian.Uint32(c.header[5:]) &^ (1 << 31)
	size := uint32(c.header[0])<<16 | uint32(c.header[1])<<8 | uint32(c.header[2])
	kind, flags := http2.FrameType(c.header[3]), http2.Flags(c.header[4])
	c.skip = size
	switch {
	case kind == http2.FrameRSTStream,
		kind == http2.FrameHeaders && flags.Has(http2.FlagHeadersEndStream),
		kind == http2.FrameData && flags.Has(http2.FlagDataEndStream):
		delete(c.streams, id)
		return nil
	case kind != http2.FrameData:
		return nil
	case flags.Has(http2.FlagDataPadded):
		return errPadded
	}
	s := c.streams[id]
	if s == nil {
		if len(c.streams) >= mostOpen {
			return errOpen
		}
		s = &stream{since: time.Now()}
		c.streams[id] = s
	}
	if c.answers {
		c.data = s
	}
	if size >= crumb {
		return nil
	}
	s.crumbs++
	most := mostCrumbs
	if !c.answers {
		most += int(time.Since(s.since) / crumbsEvery)
	}
	if s.crumbs > most {
		return errCrumbs
	}
	return nil
}

// whole is called when a frame has ended.
func (c *crumbs) whole() {
	if c.data == nil {
		return
	}
	if c.data.have == 0 && c.data.left == 0 {
		id := binary.BigEndian.Uint32(c.header[5:]) &^ (1 << 31)
		delete(c.streams, id)
	}
	c.data = nil
}

// read notes where the message ends that is being received.
func (s *stream) read(p []byte) {
	for s != nil && len(p) > 0 {
		if s.left > 0 {
			n := min(s.left, uint32(len(p)))
			s.left -= n
			p = p[n:]
		} else {
			n := copy(s.prefix[s.have:], p)
			s.have += n
			p = p[n:]
			if s.have < len(s.prefix) {
				return
			}
			s.have = 0
			s.left = binary.BigEndian.Uint32(s.prefix[1:])
		}
		if s.left == 0 {
			s.crumbs = 0
		}
	}
}

// withoutCrumbsTo are a client's credentials; its server may be one that was taken over.
type withoutCrumbsTo struct {
	credentials.TransportCredentials
}

// ClientHandshake watches what the connection receives.
func (c withoutCrumbsTo) ClientHandshake(ctx context.Context, authority string, conn net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return secured, info, err
	}
	return withoutCrumbs(secured, true, slog.Default()), info, nil
}

// Clone keeps watching.
func (c withoutCrumbsTo) Clone() credentials.TransportCredentials {
	return withoutCrumbsTo{c.TransportCredentials.Clone()}
}
