package chassis

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// loggingCredentials log why a handshake failed; the peer itself does not learn the cause.
type loggingCredentials struct {
	credentials.TransportCredentials
	logger    *slog.Logger
	strangers *sparing
}

// ServerHandshake logs a handshake that fails.
func (c loggingCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil && !wentAway(err) && c.strangers.may() {
		c.logger.Warn("refused a connection", "peer", conn.RemoteAddr().String(), "error", err)
	}
	who := identity.PeerFrom(&peer.Peer{AuthInfo: info})
	if err == nil && who.Identity.Role == identity.RoleBreakGlass {
		c.logger.Warn("break-glass is used", "peer", who.Identity.String(), "process", who.Address)
	}
	if g, ok := conn.(*guest); ok && err == nil {
		if err = g.introduce(who); err != nil {
			c.logger.Warn("refused a connection", "peer", conn.RemoteAddr().String(), "error", err)
			return nil, nil, err
		}
	}
	if err != nil {
		return secured, info, err
	}
	return withoutCrumbs(secured, false, c.logger), info, nil
}

// Clone keeps the logger.
func (c loggingCredentials) Clone() credentials.TransportCredentials {
	c.TransportCredentials = c.TransportCredentials.Clone()
	return c
}

// wentAway is a peer that only probed the port.
func wentAway(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}
