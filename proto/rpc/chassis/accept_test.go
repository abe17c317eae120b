package chassis_test

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
)

// scripted answers Accept with each of the errors, then with a connection, then as closed.
type scripted struct {
	faults []error
	served bool
}

func (s *scripted) Accept() (net.Conn, error) {
	if len(s.faults) > 0 {
		err := s.faults[0]
		s.faults = s.faults[1:]
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	if s.served {
		return nil, &net.OpError{Op: "accept", Err: net.ErrClosed}
	}
	s.served = true
	conn, other := net.Pipe()
	return conn, other.Close()
}

func (s *scripted) Close() error   { return nil }
func (s *scripted) Addr() net.Addr { return &net.TCPAddr{} }

func TestAcceptGoesOnAfterErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		l := chassis.Lasting(&scripted{faults: []error{syscall.EMFILE, syscall.EMFILE,
			syscall.ENFILE, syscall.ECONNABORTED, syscall.EPROTO, syscall.ENOBUFS}},
			slog.New(slog.NewTextHandler(&out, nil)))
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("accepting ended: %v", err)
		}
		conn.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		for _, want := range []string{"cannot accept a connection", "accepted again"} {
			if strings.Count(out.String(), want) != 1 {
				t.Errorf("%q is not in the log once:\n%s", want, &out)
			}
		}
	})
}
