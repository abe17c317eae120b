package chassis

import (
	"errors"
	"log/slog"
	"net"
	"time"
)

const (
	acceptPause = 5 * time.Millisecond
	acceptMost  = time.Second
)

// lasting is a listener that goes on after an error: descriptors that are used up for a moment, a
// peer that went before it was accepted.
type lasting struct {
	net.Listener
	log *slog.Logger
}

// Lasting makes a listener whose Accept fails only once it is closed, within a second of that. It
// says in the log when it cannot accept, and when it can again.
func Lasting(listener net.Listener, log *slog.Logger) net.Listener {
	return lasting{listener, log.With("address", listener.Addr().String())}
}

// Accept implements net.Listener.
func (l lasting) Accept() (net.Conn, error) {
	failing := false
	for pause := acceptPause; ; pause = min(2*pause, acceptMost) {
		conn, err := l.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			if failing && err == nil {
				l.log.Info("connections are accepted again")
			}
			return conn, err
		}
		if !failing {
			failing = true
			l.log.Warn("cannot accept a connection, and tries again", "error", err)
		}
		<-time.After(pause)
	}
}
