//go:build figures

package fleet_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/agentpool"
	"github.com/understudy-db/understudy/controlplane/internal/fleet"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// AGENTS agents, in a process of their own, are followed by one control plane. Some hang, of some
// MariaDB dies: how long until the records say so, and what does the control plane need?
func TestFigures(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("AGENTS"))
	if err != nil {
		t.Fatal("AGENTS: ", err)
	}
	if dir := os.Getenv("AGENTS_CHILD"); dir != "" {
		serveAgents(t, dir, count)
		return
	}
	dir := t.TempDir()
	agents := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFigures$",
		"-test.timeout=30m")
	agents.Env = append(os.Environ(), "AGENTS_CHILD="+dir)
	agents.Stderr = os.Stderr
	orders, err := agents.StdinPipe()
	must(t, err)
	said, err := agents.StdoutPipe()
	must(t, err)
	must(t, agents.Start())
	lines := bufio.NewScanner(said)
	lines.Scan()
	port, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
	must(t, err)

	source, err := identity.NewFiles(identity.FilesConfig{CA: filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")})
	must(t, err)
	st := storetest.New(t)
	before := resident(t)
	pool, err := agentpool.New(agentpool.Config{Addresses: nobody{}, Source: source, Port: port,
		Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer pool.Close()
	for i := range count {
		must(t, st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.Servers().Insert(ctx, &inventory.Server{Name: nameOf(i),
				Address: addressOf(i), Role: inventory.RolePrimary, ServerID: 7,
				State: inventory.ServerReady, AgentIdentity: identity.Agent(nameOf(i)).String()})
		}))
	}
	loops := loop.NewSet(slog.New(slog.DiscardHandler))
	monitor := fleet.NewMonitor(fleet.MonitorConfig{Store: st, Agents: pool, Jobs: noJobs{},
		Beat: time.Second, UnreachableAfter: 4 * time.Second,
		DegradedAfter: 3 * time.Second, Loops: loops, Log: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go monitor.Run(ctx)
	began := time.Now()
	for len(monitor.Latest()) < count {
		<-time.After(200 * time.Millisecond)
	}
	t.Logf("%d agents: all followed after %.1f s", count, time.Since(began).Seconds())
	<-time.After(settle)
	user := processor(t)
	<-time.After(settle)
	t.Logf("%d agents: %d KiB of memory each, %.2f cores in all", count,
		(resident(t)-before)/count>>10, (processor(t)-user).Seconds()/settle.Seconds())
	bad := max(count/10, 1)
	for _, order := range []struct{ say, state string }{{"hang", "UNREACHABLE"}, {"well", "READY"},
		{"down", "DEGRADED"}, {"well", "READY"}} {
		began := time.Now()
		fmt.Fprintln(orders, order.say, bad)
		first, last := until(t, st, order.state, bad, count)
		t.Logf("%d agents, %d are told %s: the first is %s after %.1f s, the last after %.1f s",
			count, bad, order.say, order.state, first.Sub(began).Seconds(),
			last.Sub(began).Seconds())
	}
	must(t, agents.Process.Signal(syscall.SIGKILL))
	_ = agents.Wait()
}

// until waits until the first bad of the servers have the state, and says when one and all had it.
func until(t *testing.T, st *store.Store, state string, bad, count int) (first, last time.Time) {
	for began := time.Now(); ; {
		have := 0
		var text []string
		must(t, st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			have = 0
			text = nil
			for i := range bad {
				s, err := tx.Servers().Get(ctx, nameOf(i))
				if err != nil {
					return err
				}
				if string(s.State) == state {
					have++
				} else {
					text = append(text, string(s.State)+" "+s.StateReason)
				}
			}
			return nil
		}))
		if have > 0 && first.IsZero() {
			first = time.Now()
		}
		if have == bad {
			return first, time.Now()
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("not %s after a minute: %q", state, text[:1])
		}
		<-time.After(100 * time.Millisecond)
	}
}

// settle is how long the fleet is left alone before it is measured, and while it is.
const settle = 20 * time.Second

type nobody struct{}

func (nobody) Address(context.Context, string) (string, error) { return "", nil }

type noJobs struct{}

func (noJobs) List(context.Context, job.Filter) ([]job.Job, string, error) { return nil, "", nil }
func (noJobs) Get(context.Context, string) (job.Job, error)                { return job.Job{}, nil }

func nameOf(i int) string    { return fmt.Sprintf("db%d", i) }
func addressOf(i int) string { return fmt.Sprintf("127.%d.%d.%d", 10+i/40000, i/200%200, i%200+1) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func resident(t *testing.T) int {
	text, err := os.ReadFile("/proc/self/statm")
	must(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	must(t, err)
	return pages * os.Getpagesize()
}

func processor(t *testing.T) time.Duration {
	var used syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// agentsOf is all agents: a certificate for each address, and the order that they have.
type agentsOf struct {
	agentv1.UnimplementedObservationServiceServer
	bad   atomic.Int64
	order atomic.Value
}

func serveAgents(t *testing.T, dir string, count int) {
	ca := identitytest.New(t)
	ca.WriteFiles(dir, ca.Issue(identity.ControlPlane()))
	certificates := map[string]*tls.Certificate{}
	for i := range count {
		certificates[addressOf(i)] = ca.Issue(identity.Agent(nameOf(i)))
	}
	a := &agentsOf{}
	a.order.Store("well")
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			host, _, _ := net.SplitHostPort(hello.Conn.LocalAddr().String())
			return certificates[host], nil
		}, MinVersion: tls.VersionTLS13})), grpc.WriteBufferSize(0), grpc.ReadBufferSize(0))
	agentv1.RegisterObservationServiceServer(server, a)
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	must(t, err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() { _ = server.Serve(listener) }()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		n, _ := strconv.Atoi(words[1])
		a.bad.Store(int64(n))
		a.order.Store(words[0])
	}
}

func (a *agentsOf) Observe(r *agentv1.ObserveRequest,
	stream grpc.ServerStreamingServer[agentv1.ObserveResponse]) error {
	from, _ := peer.FromContext(stream.Context())
	parts := strings.Split(strings.Split(from.LocalAddr.String(), ":")[0], ".")
	var n [4]int
	for i := range parts {
		n[i], _ = strconv.Atoi(parts[i])
	}
	number := (n[1]-10)*40000 + n[2]*200 + n[3] - 1
	tick := time.NewTicker(r.GetBeatInterval().AsDuration())
	defer tick.Stop()
	sent := ""
	for {
		order := "well"
		if int64(number) < a.bad.Load() {
			order = a.order.Load().(string)
		}
		if order != "hang" {
			m := &agentv1.ObserveResponse{Change: 1, Hash: order, Time: timestamppb.Now(),
				Age: durationpb.New(0), Progress: &agentv1.HostProgress{BinlogFile: "b.1",
					BinlogOffset: 1, OldestBinlog: "b.1"}}
			if sent != order {
				m.Facts = &agentv1.HostFacts{Unit: &agentv1.UnitFacts{ActiveState: "active"},
					Mariadb: &agentv1.MariaDBStatus{Answers: order == "well", ServerId: 7,
						LogBin: true, LogSlaveUpdates: true, DownReason: "dead",
						BinlogHistory: "a"}}
				sent = order
			}
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}
