package fleet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// shown awaits how a server is shown, and fails when it is READY before.
func (w *watched) shown(state inventory.ServerState, says string) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(testBeat / 4) {
		switch srv := w.m.Shown(w.get("db1")); {
		case srv.State == state && strings.Contains(srv.StateReason, says):
			return
		case srv.State == inventory.ServerReady || time.Now().After(deadline):
			w.t.Fatalf("db1 is %s (%s), want %s (%s)", srv.State, srv.StateReason, state, says)
		}
	}
}

// events counts those of all servers.
func (w *watched) events() int {
	w.t.Helper()
	var all []inventory.Event
	if err := w.st.Read(w.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		all, _, err = tx.Events().List(ctx, store.EventFilter{}, store.Page{})
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

// TestREADYIsOfThisRun: what a control plane of before recorded is no proof of now.
func TestREADYIsOfThisRun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		agent func(w *watched)
		first string // what UNKNOWN says
		state inventory.ServerState
		says  string // and what follows
	}{
		"a hung agent": {func(w *watched) { w.agents.hang("db1", true) }, "was not observed since",
			inventory.ServerUnreachable, "has not answered"},
		"a failing agent": {func(w *watched) { w.agents.fail("db1", errors.New("no route")) },
			"did not answer since the control plane started: no route",
			inventory.ServerUnreachable, "no route"},
		"a finding": {func(w *watched) {
			w.agents.set("db1", func(o *replication.Observed) { o.ReadOnly = true })
		}, "its agent has reported since the control plane started: it is read-only",
			inventory.ServerDegraded, "read-only"},
		"all is well": {func(*watched) {}, "", inventory.ServerReady, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t)
			w.add("db1", inventory.ServerReady)
			w.await("db1", inventory.ServerReady, "")
			for w.m.follower("db1") == nil {
				time.Sleep(testBeat)
			}
			w.stop()
			test.agent(w)
			w.cfg.UnreachableAfter = time.Hour // so that it is UNKNOWN for as long as is looked
			if test.state == inventory.ServerDegraded {
				w.cfg.DegradedAfter = time.Hour
			}
			w.start()
			rev, events := w.get("db1").Rev, w.events()
			if test.state == inventory.ServerReady {
				w.shown(test.state, "")
			} else {
				w.shown(inventory.ServerUnknown, "READY on record")
				w.shown(inventory.ServerUnknown, test.first)
			}
			if w.get("db1").Rev != rev || w.events() != events {
				t.Error("a start of the control plane changed the record, or was an event")
			}
			w.stop()
			w.cfg.UnreachableAfter, w.cfg.DegradedAfter = 20*testBeat, 5*testBeat
			w.start()
			w.shown(test.state, test.says)
		})
	}
}

// TestAJobVouchesForWhatItMadeREADY in this run, before the agent was observed.
func TestAJobVouchesForWhatItMadeREADY(t *testing.T) {
	t.Parallel()
	w := watch(t, func(cfg *MonitorConfig) { cfg.UnreachableAfter = time.Hour })
	w.add("db0", inventory.ServerReady)
	for !w.m.rostered.Load() {
		time.Sleep(testBeat)
	}
	w.agents.hang("db1", true)
	w.add("db1", inventory.ServerReady)
	for followed := false; !followed; followed = w.m.follower("db1") != nil {
		w.shown(inventory.ServerReady, "")
	}
	w.shown(inventory.ServerReady, "")
}

// TestREADYThatCannotBeTakenBack on record is not shown for ever.
func TestREADYThatCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	f.m.followed["db2"] = f
	f.srv.State = inventory.ServerReady
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	f.assess()
	if srv := f.m.Shown(f.srv); srv.State != inventory.ServerReady {
		t.Fatalf("it is %s: %s", srv.State, srv.StateReason)
	}
	f.last.Settings = map[string]string{"replicate_ignore_db": "app"}
	f.assess()
	if srv := f.m.Shown(f.srv); srv.State != inventory.ServerReady {
		t.Errorf("it is %s before it could be recorded: %s", srv.State, srv.StateReason)
	}
	f.unrecorded = f.unrecorded.Add(-unrecordedAfter)
	f.assess()
	if srv := f.m.Shown(f.srv); srv.State != inventory.ServerUnknown || !strings.Contains(
		srv.StateReason, "it is DEGRADED, which could not be recorded: replicate_ignore_db=app") {
		t.Errorf("it is %s: %s", srv.State, srv.StateReason)
	}
	f.last.Settings = nil
	f.assess()
	if srv := f.m.Shown(f.srv); srv.State != inventory.ServerReady {
		t.Errorf("it is well again, and %s: %s", srv.State, srv.StateReason)
	}
}

// TestREADYOfAServerThatMoved to another address is not shown while its follower is replaced.
func TestREADYOfAServerThatMoved(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{Beat: testBeat,
		Agents: &agents{hung: map[string]bool{"db2": true}}})
	f.m.followed["db2"] = f
	f.m.rostered.Store(true)
	f.srv.State = inventory.ServerReady
	stopping := make(chan struct{})
	f.stop = func() { close(stopping) }
	moved, ended := f.srv, make(chan struct{})
	moved.Address = "192.0.2.9"
	go func() {
		defer close(ended)
		f.m.follow(t.Context(), moved)
	}()
	<-stopping
	if srv := f.m.Shown(moved); srv.State != inventory.ServerUnknown {
		t.Errorf("it is %s", srv.State)
	}
	close(f.done)
	<-ended
	if srv := f.m.Shown(moved); srv.State != inventory.ServerUnknown {
		t.Errorf("it is %s where it moved to", srv.State)
	}
	f.m.unfollow("db2")
}
