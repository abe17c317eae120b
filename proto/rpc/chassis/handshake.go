package chassis

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"

	"google.golang.org/grpc/credentials"
)

// toldCredentials log why a peer was not let in: the peer itself only learns that it was not.
type toldCredentials struct {
	credentials.TransportCredentials
	logger *slog.Logger
}

// ServerHandshake shakes hands and logs what fails.
func (c toldCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil && !wentAway(err) {
		c.logger.Warn("refused a connection", "peer", conn.RemoteAddr().String(), "error", err)
	}
	return secured, info, err
}

// Clone keeps the logger.
func (c toldCredentials) Clone() credentials.TransportCredentials {
	return toldCredentials{TransportCredentials: c.TransportCredentials.Clone(), logger: c.logger}
}

// wentAway is a peer that only looked whether the port is open.
func wentAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}
