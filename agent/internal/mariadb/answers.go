package mariadb

import (
	"context"
	"errors"
	"fmt"
	"net"
)

const (
	packetHeader = 4
	wholePacket  = 1<<24 - 1 // another one belongs to it
	// mostAnswer is how long one row may be, or another thing that is answered. Nothing that the
	// agent asks for is nearly as long.
	mostAnswer = 64 << 20
)

var errLongAnswer = errors.New("MariaDB's answer has no end")

// answers is a connection to MariaDB that ends when a packet of an answer goes on and on: the
// driver keeps all of it, and whoever runs as MariaDB's user can be at the other end.
type answers struct {
	*net.UnixConn
	header [packetHeader]byte
	have   int
	left   int // of the packet
	sum    int // of those that belong together
}

func dialSocket(ctx context.Context, network, socket string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, socket)
	if err != nil {
		return nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no unix socket", socket), conn.Close())
	}
	return &answers{UnixConn: unix}, nil
}

// Read implements net.Conn. The driver reads from one goroutine at a time.
func (a *answers) Read(p []byte) (int, error) {
	n, err := a.UnixConn.Read(p)
	if !a.fits(p[:n]) {
		return 0, errors.Join(errLongAnswer, a.Close())
	}
	return n, err
}

func (a *answers) fits(p []byte) bool {
	for len(p) > 0 {
		if a.left > 0 {
			n := min(a.left, len(p))
			a.left -= n
			p = p[n:]
			continue
		}
		n := copy(a.header[a.have:], p)
		a.have += n
		p = p[n:]
		if a.have < packetHeader {
			return true
		}
		a.have = 0
		a.left = int(a.header[0]) | int(a.header[1])<<8 | int(a.header[2])<<16
		if a.sum += a.left; a.sum > mostAnswer {
			return false
		}
		if a.left < wholePacket {
			a.sum = 0
		}
	}
	return true
}
