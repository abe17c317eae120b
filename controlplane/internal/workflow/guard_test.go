package workflow_test

import (
	"context"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// changeServer changes a server's record.
func changeServer(t *testing.T, w *world, name string, change func(*inventory.Server) error) {
	t.Helper()
	err := w.Store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, name)
		if err != nil {
			return err
		}
		if err := change(&srv); err != nil {
			return err
		}
		return tx.Servers().Update(ctx, &srv)
	})
	if err != nil {
		t.Error(err)
	}
}

// become changes a server's state, as a monitor does.
func become(t *testing.T, w *world, name string, state inventory.ServerState) {
	t.Helper()
	changeServer(t, w, name, func(srv *inventory.Server) error {
		return srv.SetState(state, "a test")
	})
}

// checkGuarded expects a request to be refused unless it confirms what is deleted, and to change
// nothing then.
func checkGuarded(t *testing.T, w *world, p *process, id, server string,
	ask func(job.ChangeRequest) (job.Job, error)) {
	t.Helper()
	right := w.Confirmed(server)
	before, mark := w.Server(server), w.Mark()
	for name, c := range map[string]job.Confirm{
		"no confirmation":        {},
		"a name without etag":    {Name: right.Confirm.Name},
		"an etag without a name": {Etag: right.Confirm.Etag},
		"another server":         {Name: "servers/db9", Etag: right.Confirm.Etag},
		"another etag":           {Name: right.Confirm.Name, Etag: right.Confirm.Etag + "0"},
	} {
		_, err := ask(job.ChangeRequest{Who: "tester", Reason: "to see", Confirm: c})
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_DATA_LOSS_NOT_CONFIRMED ||
			errs.HintOf(err).Empty() {
			t.Errorf("%s: %v", name, err)
		}
	}
	if j, err := p.Engine.Get(t.Context(), id); err != nil || j.State.Active() {
		t.Errorf("the job is %s: %v", j.State, err)
	}
	if after := w.Server(server); after.Rev != before.Rev || len(w.Changes(mark)) > 0 {
		t.Errorf("a refused request changed %v; the record is %+v", w.Changes(mark), after)
	}
	if _, err := ask(right); err != nil {
		t.Errorf("confirmed: %v", err)
	}
}

func TestDataOfAReplicaThatWasReadyAreGuarded(t *testing.T) {
	t.Parallel()
	states := []inventory.ServerState{inventory.ServerReady, inventory.ServerDegraded,
		inventory.ServerUnreachable}
	// The last two delete nothing themselves: what comes after them does.
	for i, step := range []string{"swap_volume", "create_machine", "plan", "quiesce"} {
		state := states[i%len(states)]
		bubbles(t, step+" of one that is "+string(state), func(t *testing.T) {
			w, p, made := withReplica(t)
			if state != inventory.ServerReady {
				become(t, w, "db2", state)
			}
			checkGuarded(t, w, p, made.ID, "db2",
				func(req job.ChangeRequest) (job.Job, error) {
					return p.Engine.Redo(t.Context(), made.ID, step, req)
				})
			succeeded(t, p.End(made.ID))
			w.CheckReplica(t, "db2")
		})
	}
}

func TestRedoThatDeletesNothingNeedsNoConfirmation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, made := withReplica(t)
		if _, err := p.Engine.Redo(t.Context(), made.ID, "mount_data", asTester); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(made.ID))
		w.CheckReplica(t, "db2")
	})
}

// brokenOff is a job that ended in a step, and may be told to succeed the next time.
func brokenOff(t *testing.T, what workflowtest.Asked, step string) (*world, *process, job.Job) {
	t.Helper()
	w, first := lab(t)
	first.Stop()
	p := w.Start()
	failing := true
	p.OnPoint(func(at job.Point, in string) {
		if at == job.BeforeEffect && in == step && failing {
			failing = false
			w.Mu.Lock()
			defer w.Mu.Unlock()
			p.Fail["Status"] = []error{errs.New(errs.FailedPrecondition,
				errorsv1.Reason_REASON_MARIADB_SETTING, "it is not as it should be")}
		}
	})
	p.Run()
	j := p.End(p.Ask(what).ID)
	if s, _ := j.Step(step); j.State != job.Failed || s.State != job.StepFailed {
		t.Fatalf("job is %s\n%s", j.State, states(j))
	}
	return w, p, j
}

// A primary that failed has data of its own once its MariaDB was up.
func TestDataOfAPrimaryAreGuardedOnceItWasUp(t *testing.T) {
	t.Parallel()
	asks := map[string]func(p *process, id string) func(job.ChangeRequest) (job.Job, error){
		"redo": func(p *process, id string) func(job.ChangeRequest) (job.Job, error) {
			return func(req job.ChangeRequest) (job.Job, error) {
				return p.Engine.Redo(p.W.T.Context(), id, "swap_volume", req)
			}
		},
		"cleanup": func(p *process, id string) func(job.ChangeRequest) (job.Job, error) {
			return func(req job.ChangeRequest) (job.Job, error) {
				return p.Engine.Cleanup(p.W.T.Context(), id, req)
			}
		},
	}
	for name, ask := range asks {
		bubbles(t, name+" after it was up", func(t *testing.T) {
			w, p, j := brokenOff(t, primary{Server: "db3"}, "finish")
			if srv := w.Server("db3"); srv.State != inventory.ServerFailed {
				t.Fatalf("db3 is %s", srv.State)
			}
			checkGuarded(t, w, p, j.ID, "db3", ask(p, j.ID))
			p.End(j.ID)
		})
		bubbles(t, name+" before", func(t *testing.T) {
			_, p, j := brokenOff(t, primary{Server: "db3"}, "start_mariadb")
			if _, err := ask(p, j.ID)(asTester); err != nil {
				t.Error(err)
			}
			p.End(j.ID)
		})
	}
}

// The data of a replica that was never READY are its primary's.
func TestReplicaThatWasNeverReadyGoesWithoutConfirmation(t *testing.T) {
	t.Parallel()
	bubbles(t, "cleanup", func(t *testing.T) {
		w, p, j := brokenOff(t, replica{Server: "db2", Source: "db1"}, "finish")
		w.CheckCleanup(t, p, j.ID)
	})
	bubbles(t, "redo", func(t *testing.T) {
		w, p, j := brokenOff(t, replica{Server: "db2", Source: "db1"}, "finish")
		if _, err := p.Engine.Redo(t.Context(), j.ID, "swap_volume", asTester); err != nil {
			t.Error(err)
		}
		succeeded(t, p.End(j.ID))
		w.CheckReplica(t, "db2")
	})
}

// TestJobOfAServerThatIsGoneDeletesNothingOfALaterOne redoes the job of a deleted server, whose
// name another one has by now.
func TestJobOfAServerThatIsGoneDeletesNothingOfALaterOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, made := withReplica(t)
		p.Must(deletion{Server: "db2"})
		p.Must(replica{Server: "db2", Source: "db1"})
		later := w.Server("db2")
		for _, step := range []string{"swap_volume", "create_machine"} {
			mark := w.Mark()
			if _, err := p.Engine.Redo(t.Context(), made.ID, step, asTester); err != nil {
				t.Errorf("redo %s asks to confirm the data of another server: %v", step, err)
			}
			if j := p.End(made.ID); j.State != job.Failed {
				t.Errorf("job is %s\n%s", j.State, states(j))
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("redo %s changed %v", step, changes)
			}
		}
		if _, err := p.Engine.Cleanup(t.Context(), made.ID, asTester); err != nil {
			t.Error(err)
		}
		p.End(made.ID)
		if srv := w.Server("db2"); srv.DataVolume != later.DataVolume || srv.Job != later.Job {
			t.Errorf("%+v, was %+v", srv, later)
		}
		w.CheckReplica(t, "db2")
	})
}
