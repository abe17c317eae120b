//go:build lab

package e2e

import (
	"context"
	"encoding/hex"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// TestLongWatched watches both programs as an operator does: by traces, the journal and metrics.
func TestLongWatched(t *testing.T) {
	received, port := startCollector(t)
	l := newLab(t, "watched")
	l.Stop()
	l.start("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:" + port)
	l.run("server", "create", "db1")
	l.exec("db1", "sh", "-ec", `mkdir /etc/systemd/system/understudy-agent.service.d
		printf '[Service]\nEnvironment=OTEL_EXPORTER_OTLP_ENDPOINT=http://%s:%s\n' \
			`+addressTowards(t, l.server("db1").GetAddress())+" "+port+` \
			>/etc/systemd/system/understudy-agent.service.d/traces.conf
		systemctl daemon-reload; systemctl restart understudy-agent`)
	l.part("a job is one trace over both programs", func(l *lab, t *testing.T) {
		l.run("snapshot", "create", "db1")
		for _, span := range [][2]string{{"understudy", "take_snapshot"},
			{"understudy-agent", "understudy.agent.v1.MariaDBService/Quiesce"}} {
			awaitTrue(t, 30*time.Second, span[0]+" has exported "+span[1],
				func() bool { return received.has(span[0], span[1]) })
		}
		received.checkTraces(t)
	})
	l.part("an idle agent writes nothing to the journal", (*lab).checkQuiet)
	l.part("metrics are there while MariaDB hangs", (*lab).checkHungMetrics)
}

// addressTowards is this machine's address as a host at that address sees it.
func addressTowards(t *testing.T, host string) string {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(host, "9"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String()
}

// checkQuiet lets the control plane observe the agent for a while.
func (l *lab) checkQuiet(t *testing.T) {
	seen := func() time.Time { return l.server("db1").GetLastSeenTime().AsTime() }
	cursor := l.exec("db1", "sh", "-c",
		"journalctl -u understudy-agent -n 1 -o cat --show-cursor | sed -n 's/^-- cursor: //p'")
	first := seen()
	awaitTrue(t, 2*time.Minute, "db1 is observed for half a minute",
		func() bool { return seen().Sub(first) > 30*time.Second })
	if wrote := l.exec("db1", "journalctl", "-q", "-u", "understudy-agent", "-o", "cat",
		"--after-cursor", strings.TrimSpace(cursor)); wrote != "" {
		t.Errorf("an idle agent wrote\n%s", wrote)
	}
}

// checkHungMetrics stops MariaDB's process, as one that hangs in the kernel stands still.
func (l *lab) checkHungMetrics(t *testing.T) {
	metrics := func() string {
		return l.exec("db1", "timeout", "2", "bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/7444
			printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3`)
	}
	says := func(value string) func() bool {
		return func() bool {
			return strings.Contains(metrics(), "\nunderstudy_agent_mariadb_up "+value+"\n")
		}
	}
	awaitTrue(t, 30*time.Second, "MariaDB is up", says("1"))
	l.exec("db1", "systemctl", "kill", "--signal=STOP", "mariadb.service")
	defer l.exec("db1", "systemctl", "kill", "--signal=CONT", "mariadb.service")
	awaitTrue(t, time.Minute, "the agent says that MariaDB is not up", says("0"))
	awaitTrue(t, time.Minute, "the control plane says so", func() bool {
		return strings.HasPrefix(l.server("db1").GetStateReason(), "MariaDB has not answered")
	})
}

// spans is an OTLP collector that keeps what it gets, by the service that sent it.
type spans struct {
	collectorv1.UnimplementedTraceServiceServer
	mu  sync.Mutex
	all map[string][]*tracev1.Span
}

func startCollector(t *testing.T) (received *spans, port string) {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	received = &spans{all: map[string][]*tracev1.Span{}}
	collectorv1.RegisterTraceServiceServer(server, received)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return received, port
}

// Export takes spans.
func (s *spans) Export(_ context.Context,
	req *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, from := range req.GetResourceSpans() {
		service := ""
		for _, attribute := range from.GetResource().GetAttributes() {
			if attribute.GetKey() == "service.name" {
				service = attribute.GetValue().GetStringValue()
			}
		}
		for _, scope := range from.GetScopeSpans() {
			s.all[service] = append(s.all[service], scope.GetSpans()...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func (s *spans) has(service, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.all[service] {
		if span.GetName() == name {
			return true
		}
	}
	return false
}

// checkTraces wants a trace for each of the two jobs, in which the agent's spans are below calls of
// the control plane.
func (s *spans) checkTraces(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	traces, roots, calls := map[string]bool{}, map[string]int{}, map[string]string{}
	for service, all := range s.all {
		for _, span := range all {
			traces[hex.EncodeToString(span.GetTraceId())] = true
			if service == "understudy" {
				calls[hex.EncodeToString(span.GetSpanId())] = span.GetName()
			}
			if len(span.GetParentSpanId()) == 0 {
				roots[span.GetName()]++
			}
		}
	}
	if want := map[string]int{"create_primary": 1, "take_snapshot": 1}; len(traces) != len(want) ||
		!maps.Equal(roots, want) {
		t.Errorf("%d traces with the roots %v, want %v", len(traces), roots, want)
	}
	for _, span := range s.all["understudy-agent"] {
		if calls[hex.EncodeToString(span.GetParentSpanId())] != span.GetName() {
			t.Errorf("the agent's span %s is not below its call", span.GetName())
		}
	}
}
