package agentpool_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func named(name string) *agent {
	return &agent{host: hostService{get: func(context.Context) (*agentv1.GetHostResponse, error) {
		return &agentv1.GetHostResponse{Server: name}, nil
	}}}
}

// outOfReach fails the test unless the error is that of an agent that does not answer, and says
// whose.
func outOfReach(t *testing.T, err error) {
	t.Helper()
	if errs.KindOf(err) != errs.Unavailable ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_AGENT_UNREACHABLE ||
		errs.HintOf(err).String() == "" || errs.MetaOf(err)["server"] == "" {
		t.Errorf("%v (%v), hint %q: %v", errs.KindOf(err), errs.ReasonOf(err),
			errs.HintOf(err).String(), err)
	}
}

func TestAgentAnswers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(named("db1"))
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	if host, err := a.Host(t.Context()); err != nil || host.Server != "db1" {
		t.Errorf("%v, %v", host, err)
	}
}

func TestAgentOutOfReach(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	_, err := f.pool.Agent(t.Context(), "db1")
	outOfReach(t, err) // no address
	f.move("db1", "127.0.0.9")
	_, err = f.pool.Agent(t.Context(), "db1")
	outOfReach(t, err) // nobody there
	// It is found as soon as it is there, not after the back-off of the connection.
	f.run(named("db1"), identity.Agent("db1"), "127.0.0.9")
	began := time.Now()
	for err != nil && time.Since(began) < 2*time.Minute {
		_, err = f.pool.Agent(t.Context(), "db1")
	}
	if err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("found after %s: %v", time.Since(began), err)
	}
}

func TestOnlyTheServersOwnAgentIsBelieved(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for i, id := range []identity.Identity{identity.Agent("db2"), identity.ControlPlane(),
		identity.Operator("db1")} {
		address := net.IPv4(127, 0, 0, byte(20+i)).String()
		f.run(named("db1"), id, address)
		f.move("db1", address)
		_, err := f.pool.Agent(t.Context(), "db1")
		outOfReach(t, err)
		if err != nil && !strings.Contains(err.Error(), "expected spiffe://understudy/agent/db1") &&
			!strings.Contains(err.Error(), "certificate") {
			t.Errorf("the error does not say who was there instead: %v", err)
		}
	}
}

func TestRevokedAgentIsNotBelievedOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	running := f.db1(named("db1"))
	if _, err := f.pool.Agent(t.Context(), "db1"); err != nil {
		t.Fatal(err)
	}
	f.revoke(running.serial)
	if _, err := f.pool.Agent(t.Context(),
		"db1"); errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("%v", err)
	}
	_, err := f.pool.Agent(t.Context(), "db1")
	outOfReach(t, err) // the handshake fails now
}

func TestAddressThatChangesIsFollowed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	old := f.db1(named("old"))
	if _, err := f.pool.Agent(t.Context(), "db1"); err != nil {
		t.Fatal(err)
	}
	f.run(named("new"), identity.Agent("db1"), "127.0.0.3")
	f.move("db1", "127.0.0.3")
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	if host, err := a.Host(t.Context()); err != nil || host.Server != "new" {
		t.Errorf("%v, %v", host, err)
	}
	old.stop()
	if _, err := f.pool.Agent(t.Context(), "db1"); err != nil {
		t.Error(err)
	}
}

func TestCallThatIsCutOffIsAnAgentOutOfReach(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	entered := make(chan struct{})
	f.db1(
		&agent{mariadb: mariadbService{status: func(ctx context.Context) (
			*agentv1.GetStatusResponse, error) {
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		}}})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-entered
		f.pool.Forget("db1")
	}()
	_, err = a.Status(t.Context())
	outOfReach(t, err)
}

func TestCallerWhoGoesAwayIsNotAnAgentOutOfReach(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(
		&agent{mariadb: mariadbService{status: func(ctx context.Context) (
			*agentv1.GetStatusResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = a.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestConnectionThatSwallowsEverything is a half-open one: bytes go in, nothing comes back.
func TestConnectionThatSwallowsEverything(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	hole, err := net.Listen("tcp", f.at("127.0.0.4"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hole.Close() })
	f.move("db1", "127.0.0.4")
	began := time.Now()
	_, err = f.pool.Agent(t.Context(), "db1")
	outOfReach(t, err)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestErrorsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(&agent{
		mariadb: mariadbService{prepare: func(*agentv1.PrepareReplicaRequest) (
			*agentv1.PrepareReplicaResponse, error) {
			return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_GTID_MISMATCH,
				"it is at 0-1-6, not at 0-1-5",
				errs.WithHint("make the replica again"), errs.Meta("recovered", "0-1-6"))
		}},
		systemd: systemdService{ensure: func(_ *agentv1.EnsureUnitRequest,
			out grpc.ServerStreamingServer[agentv1.EnsureUnitResponse]) error {
			if err := out.Send(&agentv1.EnsureUnitResponse{Progress: "starting"}); err != nil {
				return err
			}
			return errs.New(errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED,
				"mariadb.service failed", errs.WithHint("see its journal"))
		}},
	})
	a, err := f.pool.Agent(t.Context(), "db1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.PrepareReplica(t.Context(), kit.PrepareReplica{GTID: "0-1-5", ServerID: 7})
	if !errors.Is(err, errs.FailedPrecondition) ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_GTID_MISMATCH ||
		errs.HintOf(err).String() != "make the replica again" ||
		errs.MetaOf(err)["recovered"] != "0-1-6" {
		t.Errorf("%v", err)
	}
	var said []string
	_, err = a.EnsureUnit(t.Context(), kit.UnitRequest{Unit: "mariadb.service"},
		func(line string) { said = append(said, line) })
	if !errors.Is(err, errs.Internal) || errs.ReasonOf(err) != errorsv1.Reason_REASON_UNIT_FAILED ||
		len(said) != 1 {
		t.Errorf("%v after %v", err, said)
	}
}

func TestPoolThatIsClosed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.db1(named("db1"))
	if _, err := f.pool.Agent(t.Context(), "db1"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.pool.Close(), f.pool.Close()); err != nil {
		t.Error(err)
	}
	if _, err := f.pool.Agent(t.Context(), "db1"); !errors.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
}
