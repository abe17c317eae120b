package quiesce

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// dialer is a process that connects, after which its caller goes away.
type dialer struct {
	goAway context.CancelFunc
	saw    chan error
}

func (d dialer) Launch(_ context.Context, _ Spec, socket string) error {
	conn, err := net.Dial("unix", socket)
	d.goAway()
	if err != nil { // the caller was faster
		d.saw <- io.EOF
		return nil
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	d.saw <- err
	return nil
}

func (dialer) Clear(context.Context, string) error { return nil }

func (dialer) Stop(context.Context) error { return nil }

func (dialer) Exit(context.Context, string, string) (string, error) { return "it ended", nil }

// A process whose connection nobody takes must see its end at once: it resumes MariaDB then.
func TestAConnectionThatNobodyTakesIsClosed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		d := dialer{goAway: cancel, saw: make(chan error, 1)}
		m := &Manager{config: Config{Launcher: d, Dir: dir}}
		conn, _, err := m.launch(ctx, Spec{})
		if err == nil {
			conn.Close()
		}
		if saw := <-d.saw; errors.Is(saw, os.ErrDeadlineExceeded) {
			t.Fatalf("the connection stays open (launch: %v)", err)
		}
		cancel()
	}
}

// slow is a process that is not started while its caller is there.
type slow struct {
	dialer
	goAway context.CancelFunc
	ended  chan struct{}
}

func (s slow) Launch(ctx context.Context, _ Spec, _ string) error {
	s.goAway()
	<-ctx.Done()
	close(s.ended)
	return ctx.Err()
}

// A process is not started for a caller that has left: it would meet the next one's socket.
func TestNothingIsLaunchedForACallerThatLeft(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := slow{goAway: cancel, ended: make(chan struct{})}
	m := &Manager{config: Config{Launcher: s, Dir: t.TempDir()}}
	if conn, _, err := m.launch(ctx, Spec{}); err == nil {
		conn.Close()
		t.Error("launched")
	}
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		t.Error("it is launched still")
	}
}
