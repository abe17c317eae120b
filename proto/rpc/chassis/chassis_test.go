package chassis_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	getUnit    = agentv1.SystemdService_GetUnit_FullMethodName
	startUnit  = agentv1.SystemdService_StartUnit_FullMethodName
	watchUnits = agentv1.SystemdService_WatchUnits_FullMethodName
)

// units is a service whose handlers a test provides.
type units struct {
	agentv1.UnimplementedSystemdServiceServer
	get   func(context.Context, *agentv1.GetUnitRequest) error
	start func(context.Context, *agentv1.StartUnitRequest) error
	watch func(*agentv1.WatchUnitsRequest,
		grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error
}

func (u *units) GetUnit(ctx context.Context,
	req *agentv1.GetUnitRequest) (*agentv1.GetUnitResponse, error) {
	return &agentv1.GetUnitResponse{}, u.get(ctx, req)
}

func (u *units) StartUnit(ctx context.Context,
	req *agentv1.StartUnitRequest) (*agentv1.StartUnitResponse, error) {
	return &agentv1.StartUnitResponse{}, u.start(ctx, req)
}

func (u *units) WatchUnits(req *agentv1.WatchUnitsRequest,
	stream grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
	return u.watch(req, stream)
}

// rules allow the control plane everything and operators to look.
func rules() authz.Table {
	table := authz.Table{}
	for _, method := range authz.MethodsOf(agentv1.File_understudy_agent_v1_systemd_service_proto) {
		table[method] = []identity.Role{identity.RoleControlPlane}
	}
	table[getUnit] = append(table[getUnit], identity.RoleOperator)
	return table
}

// world is a server that runs, and what is needed to call it.
type world struct {
	t       *testing.T
	ca      *identitytest.CA
	address string
	log     *logBuffer
	server  *chassis.Server
	stop    func() error // stops the server, waits for its end; may be called twice
}

func serve(t *testing.T, service *units, change ...func(*chassis.Config)) *world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: identitytest.New(t), address: listener.Addr().String(), log: &logBuffer{}}
	config := chassis.Config{
		Listener: listener, Rules: rules(), Logger: slog.New(slog.NewJSONHandler(w.log,
			&slog.HandlerOptions{Level: slog.LevelDebug})),
		TLS: identity.ServerConfig{Source: w.ca.Source(identity.Agent("db-1"))},
	}
	for _, c := range change {
		c(&config)
	}
	server, err := chassis.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	agentv1.RegisterSystemdServiceServer(server, service)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// dial connects as somebody.
func (w *world) dial(as identity.Identity, change ...func(*chassis.DialConfig)) *grpc.ClientConn {
	w.t.Helper()
	config := chassis.DialConfig{Address: w.address,
		TLS: identity.ClientConfig{Source: w.ca.Source(as), Expect: identity.Agent("db-1")}}
	for _, c := range change {
		c(&config)
	}
	conn, err := chassis.Dial(config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) client(as identity.Identity) agentv1.SystemdServiceClient {
	w.t.Helper()
	return agentv1.NewSystemdServiceClient(w.dial(as))
}

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// logBuffer keeps what was logged; it is written by many.
type logBuffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// calls is the lines about calls. A server that ended has written all of them.
func (w *world) calls() []map[string]any {
	w.t.Helper()
	if err := w.stop(); err != nil {
		w.t.Fatal(err)
	}
	var lines []map[string]any
	for text := range strings.Lines(w.log.String()) {
		line := map[string]any{}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			w.t.Fatal(err)
		}
		if line["msg"] == "call" {
			lines = append(lines, line)
		}
	}
	return lines
}

func ok[T any](context.Context, T) error { return nil }

func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	tlsConfig := identity.ServerConfig{Source: ca.Source(identity.ControlPlane())}
	tests := map[string]chassis.Config{
		"no address":   {TLS: tlsConfig},
		"no identity":  {Address: "127.0.0.1:0"},
		"rules for /g": {Address: "127.0.0.1:0", TLS: tlsConfig, Rules: authz.Infrastructure()},
	}
	for want, config := range tests {
		if _, err := chassis.New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestRunRefusesAMethodWithoutARule(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	table := rules()
	delete(table, startUnit)
	server, err := chassis.New(chassis.Config{Address: "127.0.0.1:0", Rules: table,
		TLS: identity.ServerConfig{Source: ca.Source(identity.ControlPlane())}})
	if err != nil {
		t.Fatal(err)
	}
	agentv1.RegisterSystemdServiceServer(server, &units{})
	if err := server.Run(patience(t)); err == nil || !strings.Contains(err.Error(), startUnit) {
		t.Error(err)
	}
}

func TestRunSaysThatItsAddressIsTaken(t *testing.T) {
	t.Parallel()
	w := serve(t, &units{})
	server, err := chassis.New(chassis.Config{Address: w.address, Rules: authz.Table{},
		TLS: identity.ServerConfig{Source: w.ca.Source(identity.ControlPlane())}})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(patience(t)); err == nil ||
		!strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
}

func TestStopWaitsForCallsAndTellsStreams(t *testing.T) {
	t.Parallel()
	entered, undone := make(chan struct{}), false
	w := serve(t, &units{watch: func(_ *agentv1.WatchUnitsRequest,
		stream grpc.ServerStreamingServer[agentv1.WatchUnitsResponse]) error {
		close(entered)
		<-chassis.Draining(stream.Context())
		undone = true
		return nil
	}})
	stream, err := w.client(identity.ControlPlane()).WatchUnits(patience(t),
		&agentv1.WatchUnitsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if !undone {
		t.Error("the server ended before its handler")
	}
	if _, err := stream.Recv(); err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	entered, undone := make(chan struct{}), false
	w := serve(t, &units{start: func(ctx context.Context, _ *agentv1.StartUnitRequest) error {
		close(entered)
		<-ctx.Done()
		undone = true
		return ctx.Err()
	}}, func(c *chassis.Config) { c.Grace = 20 * time.Millisecond })
	answer := make(chan error, 1)
	client := w.client(identity.ControlPlane())
	go func() {
		_, err := client.StartUnit(patience(t), &agentv1.StartUnitRequest{Unit: "a.service"})
		answer <- err
	}()
	<-entered
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if !undone {
		t.Error("the server ended before its handler")
	}
	if err := <-answer; err == nil {
		t.Error("the call that was cut off succeeded")
	}
}

func TestStoppedBeforeStarted(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	server, err := chassis.New(chassis.Config{Address: "127.0.0.1:0",
		TLS: identity.ServerConfig{Source: ca.Source(identity.ControlPlane())}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := server.Run(ctx); err != nil {
		t.Error(err)
	}
}
