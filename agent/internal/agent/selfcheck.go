package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const selfCheckPoll = 50 * time.Millisecond

// selfCheck asks the agent what everybody else would ask it: over its own port, with mutual TLS.
type selfCheck struct {
	conn   *grpc.ClientConn
	health healthv1.HealthClient
}

func newSelfCheck(name string, source identity.Source, address net.Addr) (*selfCheck, error) {
	conn, err := chassis.Dial(chassis.DialConfig{Address: reachable(address),
		TLS: identity.ClientConfig{Source: source, Expect: identity.Agent(name)}})
	if err != nil {
		return nil, fmt.Errorf("cannot check the agent itself: %w", err)
	}
	return &selfCheck{conn: conn, health: healthv1.NewHealthClient(conn)}, nil
}

// reachable is the address to reach a listener at from here: one on all addresses answers on
// loopback.
func reachable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return address.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

func (s *selfCheck) close() { s.conn.Close() }

func (s *selfCheck) check(ctx context.Context) error {
	// Of its health service alone: a call that hangs in the kernel would hang in a new agent too.
	answer, err := s.health.Check(ctx,
		&healthv1.HealthCheckRequest{Service: healthv1.Health_ServiceDesc.ServiceName})
	if err != nil {
		return err
	}
	if answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("the agent is %s", answer.GetStatus())
	}
	return nil
}

// await waits until the agent answers; false when ctx is done before.
func (s *selfCheck) await(ctx context.Context) bool {
	ticker := time.NewTicker(selfCheckPoll)
	defer ticker.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := s.check(bounded)
		cancel()
		if err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// awaitChange waits until the file is another one than now, or the time is over.
func awaitChange(ctx context.Context, path string, most time.Duration) error {
	before, _ := os.Stat(path)
	deadline := time.NewTimer(most)
	defer deadline.Stop()
	poll := time.NewTicker(joinPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return nil
		case <-poll.C:
		}
		now, _ := os.Stat(path)
		if (before == nil) != (now == nil) || now != nil &&
			(!now.ModTime().Equal(before.ModTime()) || !os.SameFile(before, now)) {
			return nil
		}
	}
}
