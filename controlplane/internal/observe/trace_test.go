package observe_test

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/observe"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	"github.com/understudy-db/understudy/proto/telemetry"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// collector is an OTLP collector that keeps what it gets.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (c *collector) Export(_ context.Context,
	req *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func serveGRPC(t *testing.T, server *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// host is an agent's service that answers.
type host struct {
	agentv1.UnimplementedHostServiceServer
}

func (host) GetHost(context.Context, *agentv1.GetHostRequest) (*agentv1.GetHostResponse, error) {
	return &agentv1.GetHostResponse{}, nil
}

// dialAgent is a connection to an agent as the control plane makes it.
func dialAgent(t *testing.T) agentv1.HostServiceClient {
	t.Helper()
	ca, me := identitytest.New(t), identity.Agent("db1")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rules := authz.Table{}
	for _, method := range agentv1.HostService_ServiceDesc.Methods {
		rules["/"+agentv1.HostService_ServiceDesc.ServiceName+"/"+method.MethodName] =
			[]identity.Role{identity.RoleControlPlane}
	}
	server, err := chassis.New(chassis.Config{Listener: listener, Rules: rules,
		Logger: slog.New(slog.DiscardHandler), TLS: identity.ServerConfig{Source: ca.Source(me)}})
	if err != nil {
		t.Fatal(err)
	}
	server.RegisterService(&agentv1.HostService_ServiceDesc, host{})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	conn, err := chassis.Dial(chassis.DialConfig{Address: listener.Addr().String(),
		TLS: identity.ClientConfig{Source: ca.Source(identity.ControlPlane()), Expect: me}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return agentv1.NewHostServiceClient(conn)
}

// A job is one trace, over a restart of the control plane in its middle and through the agent.
func TestAJobIsATrace(t *testing.T) {
	received := &collector{}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, received)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+serveGRPC(t, server))
	stopTraces, err := telemetry.StartTraces(t.Context(), telemetry.TraceConfig{
		Service: "understudy", Version: "1", Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	agent := dialAgent(t)
	st := storetest.New(t)
	waits, restarted := make(chan struct{}, 100), make(chan struct{})
	steps := []job.PlanStep[*store.Tx]{
		{Kind: "ask", Handler: func(ctx context.Context, run *job.Run) (job.Outcome[*store.Tx],
			error) {
			if run.Attempt == 1 {
				return job.Outcome[*store.Tx]{}, errors.New("not yet")
			}
			if _, err := agent.GetHost(ctx, &agentv1.GetHostRequest{}); err != nil {
				return job.Outcome[*store.Tx]{}, err
			}
			return job.Done[*store.Tx](nil)
		}},
		{Kind: "await", Handler: func(ctx context.Context, _ *job.Run) (job.Outcome[*store.Tx],
			error) {
			select {
			case <-restarted:
				return job.Done[*store.Tx](nil)
			default:
				waits <- struct{}{}
				return job.Again[*store.Tx](time.Second, "the restart")
			}
		}}}
	run := func(until func(*job.Engine[*store.Tx])) {
		jobs, err := observe.NewJobs(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		engine, err := job.New(job.Config[*store.Tx]{Store: st, Observer: jobs,
			Logger: slog.New(slog.DiscardHandler), Plans: []job.Plan[*store.Tx]{{Kind: "make",
				Steps: steps}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- engine.Run(ctx) }()
		until(engine)
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	var made job.Job
	run(func(engine *job.Engine[*store.Tx]) {
		made, err = engine.Create(t.Context(), job.Request{Kind: "make", Who: "me"})
		if err != nil {
			t.Fatal(err)
		}
		<-waits
	})
	close(restarted)
	run(func(engine *job.Engine[*store.Tx]) {
		changes, err := engine.Watch(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		for j := range changes {
			if j.State == job.Succeeded && j.Owner == "" {
				break
			}
		}
		// A call that belongs to no job makes no trace.
		if _, err := agent.GetHost(t.Context(), &agentv1.GetHostRequest{}); err != nil {
			t.Fatal(err)
		}
	})
	stopTraces()
	checkTree(t, received.spans)
}

func checkTree(t *testing.T, spans []*tracev1.Span) {
	t.Helper()
	byID, traces := map[string]*tracev1.Span{}, map[string]bool{}
	for _, s := range spans {
		byID[hex.EncodeToString(s.GetSpanId())] = s
		traces[hex.EncodeToString(s.GetTraceId())] = true
	}
	if len(traces) != 1 {
		t.Errorf("%d traces, want one", len(traces))
	}
	var paths []string
	for _, s := range spans {
		path := []string{}
		for at := s; at != nil; at = byID[hex.EncodeToString(at.GetParentSpanId())] {
			path = append(path, at.GetName())
			if at.GetStartTimeUnixNano() > at.GetEndTimeUnixNano() {
				t.Errorf("span %s ends before it starts", at.GetName())
			}
		}
		slices.Reverse(path)
		paths = append(paths, strings.Join(path, " > "))
	}
	slices.Sort(paths)
	const call = "understudy.agent.v1.HostService/GetHost"
	want := []string{"make", "make > ask", "make > ask > ask attempt 1",
		"make > ask > ask attempt 2", "make > ask > ask attempt 2 > " + call,
		"make > ask > ask attempt 2 > " + call + " > " + call,
		"make > await", "make > await > await attempt 1", "make > await > await attempt 2"}
	if !slices.Equal(paths, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(paths, "\n"), strings.Join(want, "\n"))
	}
}
