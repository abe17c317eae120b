package telemetry_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/understudy-db/understudy/proto/telemetry"
)

// troubled fails to accept at first, as a kernel without memory does.
type troubled struct {
	net.Listener
	times atomic.Int32
}

func (l *troubled) Accept() (net.Conn, error) {
	if l.times.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.ENOBUFS}
	}
	return l.Listener.Accept()
}

func TestTheEndpointGoesOnAfterErrorsOfAccept(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &troubled{Listener: inner}
	listener.times.Store(2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- telemetry.Endpoint{Metrics: telemetry.NewRegistry("x", "1"),
			Log: slog.New(slog.DiscardHandler)}.Serve(ctx, listener)
	}()
	answer, err := http.Get("http://" + inner.Addr().String() + "/healthz")
	if err != nil {
		t.Error(err)
	} else {
		answer.Body.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
