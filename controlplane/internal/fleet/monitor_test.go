package fleet

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

func TestWhatFollowsFromALook(t *testing.T) {
	t.Parallel()
	m := NewMonitor(MonitorConfig{UnreachableAfter: 15 * time.Second,
		DegradedAfter: 10 * time.Second})
	const ready, away, ill = inventory.ServerReady, inventory.ServerUnreachable,
		inventory.ServerDegraded
	tests := []struct {
		state       inventory.ServerState
		health      replication.Health
		silent, bad time.Duration
		want        inventory.ServerState
		decided     bool
	}{
		{ready, replication.Healthy, 0, 0, ready, true},
		{ready, replication.Unreachable, 14 * time.Second, 14 * time.Second, away, false},
		{ready, replication.Unreachable, 15 * time.Second, 15 * time.Second, away, true},
		{ready, replication.Degraded, 0, 9 * time.Second, ill, false},
		{ready, replication.Degraded, 0, 10 * time.Second, ill, true},
		{away, replication.Healthy, 0, 0, ready, true},
		{away, replication.Degraded, 0, time.Minute, ill, true},
		{away, replication.Unreachable, time.Minute, time.Minute, away, true},
		{ill, replication.Healthy, 0, 0, ready, true},
		{ill, replication.Unreachable, time.Minute, time.Minute, away, true},
		{inventory.ServerProvisioning, replication.Healthy, 0, 0, inventory.ServerProvisioning,
			false},
		{inventory.ServerProvisioning, replication.Unreachable, time.Hour, time.Hour,
			inventory.ServerProvisioning, false},
		{inventory.ServerFailed, replication.Healthy, 0, 0, inventory.ServerFailed, false},
		{inventory.ServerDeleting, replication.Unreachable, time.Hour, time.Hour,
			inventory.ServerDeleting, false},
	}
	for _, test := range tests {
		to, decided := m.decide(test.state, test.health, test.silent, test.bad)
		if decided != test.decided || decided && to != test.want {
			t.Errorf("%s, health %d, silent %s, ill %s: %s, %v", test.state, test.health,
				test.silent, test.bad, to, decided)
		}
	}
}

// oneAgent answers for every server, with one status or one error.
type oneAgent struct {
	status replication.Status
	err    error
}

func (a *oneAgent) Agent(context.Context, string) (kit.Agent, error) {
	return statusOf{status: a.status}, a.err
}

// statusOf is an agent that tells a status and nothing else.
type statusOf struct {
	kit.Agent
	status replication.Status
}

func (s statusOf) Status(context.Context) (replication.Status, error) { return s.status, nil }

// busyJobs says that a job works on the subjects that it has.
type busyJobs map[string]bool

func (b busyJobs) List(_ context.Context, f job.Filter) ([]job.Job, string, error) {
	if b[f.Subject] {
		return []job.Job{{ID: "1"}}, "", nil
	}
	return nil, "", nil
}

func TestMonitorRecordsWhatItSees(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st, err := store.Open(ctx, store.Config{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	add := func(name string, state inventory.ServerState) {
		s := inventory.Server{Name: name, State: state, Role: inventory.RolePrimary, ServerID: 7,
			Address: "192.0.2.1", AgentIdentity: "x", MachineID: name}
		if err := st.Write(ctx,
			func(ctx context.Context, tx *store.Tx) error {
				return tx.Servers().Insert(ctx,
					&s)
			}); err != nil {
			t.Fatal(err)
		}
	}
	add("db1", inventory.ServerReady)
	add("made", inventory.ServerProvisioning)
	add("broken", inventory.ServerFailed)
	healthy := replication.Status{Answers: true, ServerID: 7, LogBin: true,
		BinlogFile: "mariadb-bin.000001"}
	agent, jobs := &oneAgent{status: healthy}, busyJobs{}
	m := NewMonitor(MonitorConfig{Store: st, Agents: agent, Forget: func(string) {}, Jobs: jobs,
		Log: slog.New(slog.DiscardHandler)})
	see := func(want inventory.ServerState, why string) inventory.Server {
		t.Helper()
		if err := m.round(ctx); err != nil {
			t.Fatal(err)
		}
		got := map[string]inventory.Server{}
		if err := st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			all, err := tx.Servers().All(ctx)
			for _, s := range all {
				got[s.Name] = s
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if s := got["db1"]; s.State != want || s.StateReason != why {
			t.Errorf("db1 is %s (%s), want %s (%s)", s.State, s.StateReason, want, why)
		}
		if got["made"].State != inventory.ServerProvisioning ||
			got["broken"].State != inventory.ServerFailed {
			t.Errorf("states of jobs were overwritten: %s, %s", got["made"].State,
				got["broken"].State)
		}
		return got["db1"]
	}
	first := see(inventory.ServerReady, "")
	if first.LastSeen.IsZero() || first.Rev != 1 {
		t.Errorf("seen %s, revision %d", first.LastSeen, first.Rev)
	}
	agent.err = errors.New("no route")
	see(inventory.ServerUnreachable, "no route")
	agent.err, agent.status.ReadOnly = nil, true
	see(inventory.ServerDegraded, "it is read-only")
	agent.status = replication.Status{DownReason: "stopped"}
	see(inventory.ServerDegraded, "MariaDB does not answer: stopped")
	agent.status = healthy
	last := see(inventory.ServerReady, "")
	if again := see(inventory.ServerReady, ""); again.Rev != last.Rev {
		t.Error("a look that found nothing new changed the record")
	}
	for _, subject := range []string{"servers/db1", "snapshotting/db1"} {
		jobs[subject], agent.status.ReadOnly = true, true
		see(inventory.ServerReady, "")
		delete(jobs, subject)
	}
}
