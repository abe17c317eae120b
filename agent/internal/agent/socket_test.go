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

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// serveSocket runs the servers of an agent that touches nothing of this host, and connects to its
// socket.
func serveSocket(t *testing.T) (*runner, *grpc.ClientConn) {
	t.Helper()
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
	d := &runner{config: config, options: Options{Log: log}, parts: made, enroller: enroller}
	ctx, cancel := context.WithCancel(context.Background())
	server, local, err := d.servers(ctx, "db1",
		identitytest.New(t).Source(identity.Agent("db1")), listener)
	if err != nil {
		t.Fatal(err)
	}
	if local == nil {
		t.Fatal("there is no socket")
	}
	done := make(chan error, 2)
	go func() { done <- server.Run(ctx) }()
	go func() { done <- local.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
		d.endAudit(context.Background())
		made.close(log)
	})
	conn, err := chassis.DialLocal(filepath.Join(config.RuntimeDir, "agent.sock"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return d, conn
}

// Root of the host calls what an operator may, without a certificate and a control plane; what it
// changes is on record, and what is the control plane's alone stays so.
func TestRootCallsOverTheSocket(t *testing.T) {
	t.Parallel()
	d, conn := serveSocket(t)
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
