//go:build lab

package agentpool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// TestCallOnAConnectionThatFallsSilentEnds takes as long as the keepalive does: half a minute.
func TestCallOnAConnectionThatFallsSilentEnds(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	entered := make(chan struct{})
	f.run(&agent{mariadb: mariadbService{wait: func(_ *agentv1.WaitForGtidRequest,
		out grpc.ServerStreamingServer[agentv1.WaitForGtidResponse]) error {
		close(entered)
		<-out.Context().Done()
		return out.Context().Err()
	}}}, identity.Agent("db1"), "127.0.0.5")
	silent := silencer(t, f.at("127.0.0.6"), f.at("127.0.0.5"))
	f.move("db1", "127.0.0.6")
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-entered
		silent.Store(true)
	}()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	_, err = a.WaitForGTID(ctx, "0-1-1", time.Hour, nil)
	outOfReach(t, err)
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("it took %s to notice", took)
	}
}

// silencer forwards connections until it falls silent: bytes are swallowed then, and nothing is
// closed.
func silencer(t *testing.T, from, to string) *atomic.Bool {
	t.Helper()
	silent := &atomic.Bool{}
	listener, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	pipe := func(dst, src net.Conn) {
		buf := make([]byte, 4096)
		for {
			n, err := src.Read(buf)
			if err != nil {
				if errors.Is(err, io.EOF) && !silent.Load() {
					dst.Close()
				}
				return
			}
			if silent.Load() {
				continue
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			t.Cleanup(func() { in.Close(); out.Close() })
			go pipe(out, in)
			go pipe(in, out)
		}
	}()
	return silent
}
