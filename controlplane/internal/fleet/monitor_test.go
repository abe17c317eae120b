package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/proto/loop"
)

func TestWhatFollowsFromAnObservation(t *testing.T) {
	t.Parallel()
	cfg := MonitorConfig{DegradedAfter: 10 * time.Second}
	const ready, away, ill = inventory.ServerReady, inventory.ServerUnreachable,
		inventory.ServerDegraded
	for _, test := range []struct {
		state   inventory.ServerState
		facts   facts
		want    inventory.ServerState
		decided bool
	}{
		{ready, facts{}, ready, true},
		{ready, facts{unknown: true}, ready, false},
		{ready, facts{silent: true}, away, true},
		{ready, facts{silent: true, ill: true, illFor: time.Minute}, away, true},
		{ready, facts{ill: true, illFor: 9 * time.Second}, ill, false},
		{ready, facts{ill: true, illFor: 10 * time.Second}, ill, true},
		{ready, facts{unsettled: true}, ready, true},
		{ill, facts{unsettled: true}, ill, true},
		{away, facts{unsettled: true}, ill, true},
		{away, facts{}, ready, true},
		{away, facts{ill: true, illFor: time.Minute}, ill, true},
		{ill, facts{}, ready, true},
		{ill, facts{silent: true}, away, true},
		{inventory.ServerProvisioning, facts{}, inventory.ServerProvisioning, false},
		{inventory.ServerProvisioning, facts{silent: true}, inventory.ServerProvisioning, false},
		{inventory.ServerFailed, facts{}, inventory.ServerFailed, false},
		{inventory.ServerDeleting, facts{silent: true}, inventory.ServerDeleting, false},
	} {
		got := decide(cfg, test.state, test.facts)
		if got.decided != test.decided || got.decided && got.state != test.want {
			t.Errorf("%s, %+v: %+v", test.state, test.facts, got)
		}
	}
}

// agents are agents that a test speaks for.
type agents struct {
	mu     sync.Mutex
	now    map[string]replication.Observed // what each sends, again and again
	fault  map[string]error                // what each fails with instead
	hung   map[string]bool                 // those that say nothing
	closed map[string]int
	// confirm answers for an agent what history its binary log has.
	confirm func(name string, known replication.Known) (string, error)
}

func (a *agents) set(name string, change func(*replication.Observed)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now[name]
	change(&now)
	a.now[name] = now
}

func (a *agents) hang(name string, on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hung[name] = on
}

func (a *agents) fail(name string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault[name] = err
}

func (a *agents) Forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed[name]++
}

func (a *agents) ConfirmHistory(_ context.Context, name, _ string,
	known replication.Known) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.confirm == nil {
		return "", nil
	}
	return a.confirm(name, known)
}

func (a *agents) Observe(ctx context.Context, name, address string, every time.Duration,
	_ replication.Observed, take func(replication.Observed)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		a.mu.Lock()
		now, err, hung := a.now[name], a.fault[name], a.hung[name]
		a.mu.Unlock()
		if address == "" {
			err = errors.New("no address")
		}
		if err != nil {
			return err
		}
		if !hung {
			now.At = time.Now()
			take(now)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// runningJobs are the jobs that have not ended.
type runningJobs struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (r *runningJobs) set(id string, runs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[id] = runs
}

func (r *runningJobs) List(context.Context, job.Filter) ([]job.Job, string, error) {
	return nil, "", nil
}

func (r *runningJobs) Get(_ context.Context, id string) (job.Job, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids[id] {
		return job.Job{ID: id, State: job.Waiting,
			Steps: []job.Step{{State: job.StepWaiting}}}, nil
	}
	return job.Job{ID: id, State: job.Failed}, nil
}

// watched is a monitor that runs, over agents that a test speaks for.
type watched struct {
	t      *testing.T
	st     *store.Store
	agents *agents
	jobs   *runningJobs
	cfg    MonitorConfig
	m      *Monitor
	stop   func()
}

const testBeat = 20 * time.Millisecond

func watch(t *testing.T, change ...func(*MonitorConfig)) *watched {
	t.Helper()
	st := storetest.New(t)
	w := &watched{t: t, st: st, jobs: &runningJobs{ids: map[string]bool{}},
		agents: &agents{now: map[string]replication.Observed{}, fault: map[string]error{},
			hung: map[string]bool{}, closed: map[string]int{}}}
	log := slog.New(slog.DiscardHandler)
	cfg := MonitorConfig{Store: st, Agents: w.agents, Jobs: w.jobs, Beat: testBeat,
		UnreachableAfter: 20 * testBeat, DegradedAfter: 5 * testBeat, Loops: loop.NewSet(log),
		Log: log}
	for _, one := range change {
		one(&cfg)
	}
	w.cfg = cfg
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// start starts the monitor, as a start of the control plane does.
func (w *watched) start() {
	m := NewMonitor(w.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); m.Run(ctx) }()
	w.m, w.stop = m, func() { cancel(); <-ended }
}

func (w *watched) write(change func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	if err := w.st.Write(context.Background(), change); err != nil {
		w.t.Fatal(err)
	}
}

// add makes a server whose agent says that all is well.
func (w *watched) add(name string, state inventory.ServerState,
	change ...func(*inventory.Server)) {
	w.t.Helper()
	s := inventory.Server{Name: name, State: state, Role: inventory.RolePrimary, ServerID: 7,
		Address: "192.0.2.1", MachineID: name}
	for _, one := range change {
		one(&s)
	}
	w.agents.set(name, func(o *replication.Observed) {
		o.Status = replication.Status{Answers: true, ServerID: 7, LogBin: true,
			BinlogFile: "mariadb-bin.000001"}
	})
	w.write(func(ctx context.Context, tx *store.Tx) error { return tx.Servers().Insert(ctx, &s) })
}

func (w *watched) get(name string) (srv inventory.Server) {
	w.t.Helper()
	if err := w.st.Read(context.Background(), func(ctx context.Context,
		tx *store.Tx) (err error) {
		srv, err = tx.Servers().Get(ctx, name)
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return srv
}

// await waits until the record of a server is as wanted.
func (w *watched) await(name string, state inventory.ServerState, says string) inventory.Server {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		srv := w.get(name)
		if srv.State == state && strings.Contains(srv.StateReason, says) {
			return srv
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is %s (%s), want %s (%s)", name, srv.State, srv.StateReason, state,
				says)
		}
		time.Sleep(testBeat)
	}
}

func TestTheRecordFollowsTheAgent(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.add("db1", inventory.ServerReady)
	w.add("made", inventory.ServerProvisioning)
	w.add("broken", inventory.ServerFailed)
	w.add("nowhere", inventory.ServerReady, func(s *inventory.Server) { s.Address = "" })
	w.await("nowhere", inventory.ServerUnreachable, "no address")
	w.agents.fail("db1", errors.New("no route"))
	srv := w.await("db1", inventory.ServerUnreachable, "no route")
	if len(srv.Findings) != 1 || srv.Findings[0].Code != "AGENT_SILENT" ||
		srv.Findings[0].Since.IsZero() {
		t.Errorf("findings %+v", srv.Findings)
	}
	w.agents.fail("db1", nil)
	w.await("db1", inventory.ServerReady, "")
	w.agents.set("db1", func(o *replication.Observed) { o.ReadOnly = true })
	w.await("db1", inventory.ServerDegraded, "it is read-only")
	w.agents.set("db1", func(o *replication.Observed) {
		o.ReadOnly, o.Answers = false, false
		o.Unit = replication.Unit{Active: "failed", Result: "signal", ExitStatus: 9,
			Errors: []string{"[ERROR] InnoDB: no"}}
	})
	srv = w.await("db1", inventory.ServerDegraded, "mariadb.service failed: signal, status 9")
	if f := srv.Findings[0]; f.Code != "MARIADB_DOWN" || len(f.Errors) != 1 || f.Hint.Empty() {
		t.Errorf("finding %+v", f)
	}
	w.agents.hang("db1", true)
	w.await("db1", inventory.ServerUnreachable, "has not answered")
	w.agents.hang("db1", false)
	w.agents.set("db1", func(o *replication.Observed) { o.Answers = true })
	srv = w.await("db1", inventory.ServerReady, "")
	if len(srv.Findings) > 0 {
		t.Errorf("findings of a READY server: %+v", srv.Findings)
	}
	if w.get("made").State != inventory.ServerProvisioning ||
		w.get("broken").State != inventory.ServerFailed {
		t.Error("states of jobs were overwritten")
	}
	// A beat is no change of the record.
	rev := srv.Rev
	seen := w.get("db1")
	w.agents.set("db1", func(o *replication.Observed) { o.BinlogPos = "0-7-1" })
	w.agents.set("nowhere", func(*replication.Observed) {})
	w.write(func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.Servers().Get(ctx, "nowhere")
		if err != nil {
			return err
		}
		s.Address = "192.0.2.9"
		return tx.Servers().Update(ctx, &s)
	})
	w.await("nowhere", inventory.ServerReady, "") // many beats later
	if got := w.get("db1"); got.Rev != rev || got.Rev != seen.Rev {
		t.Errorf("the record moved from %d to %d without a change", rev, got.Rev)
	}
}

// 10 agents of 100 hang, all from the begin: the others are observed as if they were not there.
func TestAgentsThatHangHideNoOther(t *testing.T) {
	t.Parallel()
	w := watch(t)
	for i := range 100 {
		name := fmt.Sprintf("db%02d", i)
		w.agents.hang(name, i%10 == 0)
		w.add(name, inventory.ServerReady)
	}
	w.agents.set("db55", func(o *replication.Observed) { o.Answers = false })
	w.await("db55", inventory.ServerDegraded, "does not answer")
	w.await("db50", inventory.ServerUnreachable, "has not answered")
	for i := range 100 {
		want := inventory.ServerReady
		switch {
		case i%10 == 0:
			want = inventory.ServerUnreachable
		case i == 55:
			want = inventory.ServerDegraded
		}
		w.await(fmt.Sprintf("db%02d", i), want, "")
	}
}

func TestAJobExcusesWhatItDoesAndNothingElse(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.add("db1", inventory.ServerReady, func(s *inventory.Server) { s.Port = 3306 })
	w.add("db2", inventory.ServerReady, func(s *inventory.Server) {
		s.Role, s.Primary, s.ReplicationConfigured = inventory.RoleReplica, "db1", true
	})
	w.jobs.set("1", true)
	w.agents.set("db2", func(o *replication.Observed) {
		o.ReadOnly, o.LogUpdates, o.PausedBy = true, true, "jobs/1"
		o.Connections = []replication.Connection{{PrimaryHost: "192.0.2.1", PrimaryPort: 3306,
			IORunning: "Yes", SQLRunning: "No", UsingGTID: "Slave_Pos", TLS: true,
			TLSVerify: true}}
	})
	// It is seen long enough for an illness to count, and stays READY.
	w.agents.set("db1", func(o *replication.Observed) { o.ReadOnly = true })
	w.await("db1", inventory.ServerDegraded, "")
	w.await("db2", inventory.ServerReady, "")
	w.agents.set("db2", func(o *replication.Observed) { o.Volume.ReadOnly = true })
	w.await("db2", inventory.ServerDegraded, "read-only")
	w.agents.set("db2", func(o *replication.Observed) { o.Volume.ReadOnly = false })
	w.await("db2", inventory.ServerReady, "")
	w.jobs.set("1", false)
	srv := w.await("db2", inventory.ServerDegraded, "SQL thread is not running")
	if srv.Findings[0].Code != "REPLICATION_STOPPED" {
		t.Errorf("findings %+v", srv.Findings)
	}
}

func TestConnectionsToServersThatAreGoneAreClosed(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.add("db1", inventory.ServerReady)
	w.agents.set("db1", func(o *replication.Observed) { o.ReadOnly = true })
	w.await("db1", inventory.ServerDegraded, "")
	move := func(to inventory.ServerState) {
		w.write(func(ctx context.Context, tx *store.Tx) error {
			s, err := tx.Servers().Get(ctx, "db1")
			if err != nil {
				return err
			}
			if err := s.SetState(to, ""); err != nil {
				return err
			}
			return tx.Servers().Update(ctx, &s)
		})
	}
	move(inventory.ServerDeleting)
	move(inventory.ServerDeleted)
	deadline := time.Now().Add(time.Minute)
	for {
		w.agents.mu.Lock()
		closed := w.agents.closed["db1"]
		w.agents.mu.Unlock()
		if closed > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection of a server that was deleted stays open")
		}
		time.Sleep(testBeat)
	}
}
