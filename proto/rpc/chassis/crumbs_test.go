package chassis_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// TestARequestInCrumbs: whoever sends a request byte for byte is cut off before it is whole.
func TestARequestInCrumbs(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{})
	conn, framer := w.byHand()
	must(t, framer.WriteData(1, false, []byte{0, 0, 7, 0xff, 0xff}))
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		_, _ = io.Copy(io.Discard, conn)
	}()
	for range 100_000 {
		if framer.WriteData(1, false, []byte{'x'}) != nil {
			break
		}
	}
	<-cut
	if !strings.Contains(w.log.String(), "too many frames that are nearly empty") {
		t.Errorf("the log does not say why: %s", w.log)
	}
}

// byHand begins a call of WatchUnits without a library that has manners.
func (w *world) byHand() (net.Conn, *http2.Framer) {
	w.t.Helper()
	config, err := identity.ClientTLS(identity.ClientConfig{
		Source: w.ca.Source(identity.ControlPlane()), Expect: identity.Agent("db-1")})
	must(w.t, err)
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", w.address, config)
	must(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	must(w.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(w.t, err)
	framer := http2.NewFramer(conn, conn)
	must(w.t, framer.WriteSettings())
	must(w.t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
		BlockFragment: headers(":method", "POST", ":scheme", "https", ":path", watchUnits,
			":authority", "x", "content-type", "application/grpc", "te", "trailers")}))
	return conn, framer
}

// TestACallersWindowDoesNotGrow: gRPC would let it grow to 16 MiB for each stream, which are kept
// when nobody reads them, for a caller whose answers to pings come late.
func TestACallersWindowDoesNotGrow(t *testing.T) {
	t.Parallel()
	_, framer := serve(t, &units{}).byHand()
	must(t, framer.WriteData(1, false, []byte{0, 0, 7, 0xff, 0xff}))
	for range 4 {
		must(t, framer.WriteData(1, false, make([]byte, 15<<10)))
	}
	own := [8]byte{'o', 'w', 'n'}
	must(t, framer.WritePing(false, own))
	for acknowledged := 0; acknowledged < 2; {
		frame, err := framer.ReadFrame()
		must(t, err)
		switch f := frame.(type) {
		case *http2.PingFrame:
			if !f.IsAck() {
				must(t, framer.WritePing(true, f.Data))
			} else if acknowledged++; acknowledged == 1 {
				must(t, framer.WritePing(false, own)) // once the server has seen what is above
			}
		case *http2.SettingsFrame:
			if size, ok := f.Value(http2.SettingInitialWindowSize); ok && size > 64<<10 {
				t.Errorf("the window is %d", size)
			}
		}
	}
}

// TestAnAnswerInCrumbs: a host that was taken over answers byte for byte.
func TestAnAnswerInCrumbs(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{})
	config, err := identity.ServerTLS(identity.ServerConfig{
		Source: w.ca.Source(identity.Agent("db-1"))})
	must(t, err)
	config.NextProtos = []string{"h2"}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	must(t, err)
	defer listener.Close()
	sent := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = answerInCrumbs(conn)
		}
		sent <- err
	}()
	w.address = listener.Addr().String()
	_, err = w.client(identity.ControlPlane()).GetUnit(patience(t), &agentv1.GetUnitRequest{})
	if err == nil {
		t.Error("the answer was taken")
	}
	if err := <-sent; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("an answer in 100,000 frames was taken")
	}
}

// answerInCrumbs fails with os.ErrDeadlineExceeded when it is not cut off.
func answerInCrumbs(conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		if _, called := frame.(*http2.HeadersFrame); called {
			break
		}
	}
	read := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		read <- err
	}()
	err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true,
		BlockFragment: headers(":status", "200", "content-type", "application/grpc")})
	err = errors.Join(err, framer.WriteData(1, false, []byte{0, 0, 0x3f, 0xff, 0xff}))
	for range 100_000 {
		if err == nil {
			err = framer.WriteData(1, false, []byte{'x'})
		}
	}
	return <-read
}

func headers(fields ...string) []byte {
	var block bytes.Buffer
	coder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = coder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return block.Bytes()
}

// TestManySmallAnswersAreNoCrumbs: each message of a stream is a frame of its own.
func TestManySmallAnswersAreNoCrumbs(t *testing.T) {
	t.Parallel()
	const many = 5_000
	w := serve(t, &units{watch: func(_ *agentv1.WatchUnitsRequest,
		stream grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
		for range many {
			if err := stream.Send(&agentv1.WatchUnitsResponse{}); err != nil {
				return err
			}
		}
		return stream.Send(&agentv1.WatchUnitsResponse{Unit: &agentv1.Unit{
			Name: strings.Repeat("n", 1<<20)}})
	}})
	stream, err := w.client(identity.ControlPlane()).WatchUnits(patience(t),
		&agentv1.WatchUnitsRequest{})
	must(t, err)
	got := 0
	for ; ; got++ {
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	if !errors.Is(err, io.EOF) || got != many+1 {
		t.Errorf("%d answers: %v", got, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
