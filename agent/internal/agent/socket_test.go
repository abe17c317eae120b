package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// serveSocket runs the servers of an agent that touches nothing of this host, and connects to its
// socket. With dial a peer connects over the network.
func serveSocket(t *testing.T) (d *runner, local *grpc.ClientConn,
	dial func(identity.Source) *grpc.ClientConn, ca *identitytest.CA) {
	t.Helper()
	ca = identitytest.New(t)
	config, err := Load(Sources{Flags: map[string]any{"state_dir": t.TempDir(),
		"runtime_dir": t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	enroller, err := enroll.New(enroll.Config{StateDir: config.StateDir,
		JoinFile: config.JoinFile, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	made, err := build(config, installed, enroller.MariaDBFiles(), log)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d = &runner{config: config, options: Options{Log: log}, parts: made, enroller: enroller}
	ctx, cancel := context.WithCancel(context.Background())
	server, socket, err := d.servers(ctx, "db1", ca.Source(identity.Agent("db1")), listener)
	if err != nil {
		t.Fatal(err)
	}
	if socket == nil {
		t.Fatal("there is no socket")
	}
	done := make(chan error, 2)
	go func() { done <- server.Run(ctx) }()
	go func() { done <- socket.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
		d.endAudit(context.Background())
		made.close(log)
	})
	if local, err = chassis.DialLocal(filepath.Join(config.RuntimeDir, "agent.sock"),
		time.Minute); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })
	return d, local, func(source identity.Source) *grpc.ClientConn {
		conn, err := chassis.Dial(chassis.DialConfig{Address: listener.Addr().String(),
			TLS: identity.ClientConfig{Source: source, Expect: identity.Agent("db1")}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}, ca
}

// Both servers of an agent ask for grants: an operator needs one, which the control plane tells.
func TestAnAgentTakesChangesByGrant(t *testing.T) {
	t.Parallel()
	_, _, dial, ca := serveSocket(t)
	cert := ca.Issue(identity.Operator("ann"))
	ann := agentv1.NewSystemdServiceClient(dial(&identity.Static{Certificate: cert,
		Roots: ca.Pool()}))
	// A unit that is on no allow-list: a call that is let in changes nothing here.
	stop := func() error {
		_, err := ann.StopUnit(t.Context(), &agentv1.StopUnitRequest{Unit: "other.service"})
		return err
	}
	if err := stop(); errs.ReasonOf(err) != errorsv1.Reason_REASON_GRANT_REQUIRED {
		t.Errorf("without a grant: %v", err)
	}
	plane := agentv1.NewHostServiceClient(dial(ca.Source(identity.ControlPlane())))
	told, err := plane.SetGrants(t.Context(), &agentv1.SetGrantsRequest{Sequence: 1,
		Grants: []*agentv1.Grant{{Id: "grant-0123456789ab", Left: durationpb.New(time.Hour),
			Operator: identity.Operator("ann").String(), KeyPrint: identity.KeyPrint(cert.Leaf),
			ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), Reason: "a test"}}})
	if err != nil || !told.GetChanged() || len(told.GetInForce()) != 1 {
		t.Fatalf("%v: %v", told, err)
	}
	if err := stop(); err == nil || !strings.Contains(err.Error(), "allow-list") {
		t.Errorf("with a grant: %v", err)
	}
	if _, err := plane.SetGrants(t.Context(), &agentv1.SetGrantsRequest{Sequence: 2}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); errs.ReasonOf(err) != errorsv1.Reason_REASON_GRANT_REQUIRED {
		t.Errorf("after its end: %v", err)
	}
}

// Root of the host calls what an operator may, without a certificate and a control plane; what it
// changes is on record, and what is the control plane's alone stays so.
func TestRootCallsOverTheSocket(t *testing.T) {
	t.Parallel()
	d, conn, _, _ := serveSocket(t)
	path := filepath.Join(d.config.RuntimeDir, "agent.sock")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v; want 0600", info, err)
	}
	ctx := t.Context()
	if _, err := healthv1.NewHealthClient(conn).Check(ctx,
		&healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err == nil {
		err = stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	}
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Errorf("reflection, which grpcurl needs: %v", err)
	}
	// A unit that is on no allow-list: the call is let in, and changes nothing here.
	units := agentv1.NewSystemdServiceClient(conn)
	_, err = units.StopUnit(ctx, &agentv1.StopUnitRequest{Unit: "other.service"})
	if err == nil || !strings.Contains(err.Error(), "is not on the host's allow-list") {
		t.Errorf("a change: %v", err)
	}
	_, err = agentv1.NewHostServiceClient(conn).SetDenyList(ctx,
		&agentv1.SetDenyListRequest{Sequence: 1})
	if !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("what is the control plane's alone: %v", err)
	}
	_, err = agentv1.NewHostServiceClient(conn).SetGrants(ctx,
		&agentv1.SetGrantsRequest{Sequence: 1})
	if !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("who may change something: %v", err)
	}
	d.audit.Flush(ctx)
	batch, err := d.trail.Fetch("", audit.Head{})
	if err != nil {
		t.Fatal(err)
	}
	who := `"` + identity.BreakGlass(uint32(os.Geteuid())).String() + `"`
	if !slices.ContainsFunc(batch.Lines, func(line string) bool {
		return strings.Contains(line, `"begin"`) && strings.Contains(line, who) &&
			strings.Contains(line, agentv1.SystemdService_StopUnit_FullMethodName)
	}) {
		t.Errorf("the change is not on record: %s", batch.Lines)
	}
}
