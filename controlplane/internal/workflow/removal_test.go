package workflow_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

var removal = []string{"remove_account", "remove_machine", "remove_volumes", "forget"}

// TestEachStepOfARemovalAlone runs each step of a deletion that never began: it does what those
// before it had to do.
func TestEachStepOfARemovalAlone(t *testing.T) {
	t.Parallel()
	for _, step := range removal {
		bubbles(t, step, func(t *testing.T) {
			w, first := lab(t)
			first.Must(replica{Server: "db2", Source: "db1"})
			first.Stop()
			asked := w.Cancelled(deletion{Server: "db2"})
			p := w.Start().Run()
			s := p.Alone(asked.ID, step)
			if s.State != job.StepSucceeded {
				t.Fatalf("%s: %+v", s.State, s.Failure)
			}
			state := w.Server("db2").State
			machines, volumes, accounts := w.Left("db2")
			if gone := state == inventory.ServerDeleted; gone != (step == "forget") || !gone &&
				state != inventory.ServerDeleting {
				t.Errorf("db2 is %s", state)
			}
			if (step == "remove_account" || step == "forget") && accounts > 0 ||
				step != "remove_account" && machines > 0 ||
				(step == "remove_volumes" || step == "forget") && volumes > 0 {
				t.Errorf("%d machines, %d volumes, %d accounts are left", machines, volumes,
					accounts)
			}
			if _, err := p.Engine.Retry(t.Context(), asked.ID, asTester); err != nil {
				t.Fatal(err)
			}
			succeeded(t, p.End(asked.ID))
			if machines, volumes, accounts := w.Left("db2"); machines+volumes+accounts > 0 {
				t.Errorf("%d machines, %d volumes, %d accounts are left", machines, volumes,
					accounts)
			}
		})
	}
}

// TestRemovalAloneLooksWhoDependsOnIt runs each step of the deletion of a primary that has a
// replica by now.
func TestRemovalAloneLooksWhoDependsOnIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		asked := w.Cancelled(deletion{Server: "db1"})
		p := w.Start().Run()
		p.Must(replica{Server: "db2", Source: "db1"})
		for _, step := range removal {
			s := p.Alone(asked.ID, step)
			if s.State != job.StepFailed || s.Failure.Reason != "IN_USE" {
				t.Errorf("%s is %s: %+v", step, s.State, s.Failure)
			}
		}
		if machines, _, _ := w.Left("db1"); machines != 1 {
			t.Error("the primary's machine was taken away")
		}
		w.CheckReplica(t, "db2")
	})
}

// TestWhatIsGoneStaysGone runs each step of the jobs of a server that is gone, before and after
// there is another one of its name.
func TestWhatIsGoneStaysGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		made := first.Must(replica{Server: "db2", Source: "db1"})
		first.Stop()
		never := w.Cancelled(deletion{Server: "db2"})
		p := w.Start().Run()
		deleted := p.Must(deletion{Server: "db2"})
		p.ChangeNothing(t, never, deleted, made)
		if srv := w.Server("db2"); srv.State != inventory.ServerDeleted {
			t.Errorf("db2 is %s again", srv.State)
		}
		p.Must(replica{Server: "db2", Source: "db1",
			Options: map[string]string{"max_connections": "77"}})
		p.ChangeNothing(t, never, deleted, made)
		w.CheckReplica(t, "db2")
	})
}

// TestAServerThatIsGoneIsMadeAnew does what the refusal names as the hint.
func TestAServerThatIsGoneIsMadeAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		made := p.Must(replica{Server: "db2", Source: "db1"})
		p.Must(deletion{Server: "db2"})
		if _, err := p.Engine.Redo(t.Context(), made.ID, "plan",
			job.ChangeRequest{Who: "tester", Reason: "it was missed"}); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(made.ID))
		w.CheckReplica(t, "db2")
	})
}

// TestWhatAPersonSkippedIsLeftOut deletes a replica whose account cannot be dropped.
func TestWhatAPersonSkippedIsLeftOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		p.Must(replica{Server: "db2", Source: "db1"})
		p.Stop()
		asked := w.Cancelled(deletion{Server: "db2"})
		p = w.Start()
		for _, ask := range []func() (job.Job, error){
			func() (job.Job, error) {
				return p.Engine.Skip(t.Context(), asked.ID, "remove_account",
					job.ChangeRequest{Who: "tester", Reason: "kept for another"})
			},
			func() (job.Job, error) {
				return p.Engine.Retry(t.Context(), asked.ID,
					job.ChangeRequest{Who: "tester"})
			},
		} {
			if _, err := ask(); err != nil {
				t.Fatal(err)
			}
		}
		p.Run()
		succeeded(t, p.End(asked.ID))
		if machines, volumes, accounts := w.Left("db2"); machines+volumes > 0 || accounts != 1 {
			t.Errorf("%d machines, %d volumes, %d accounts are left", machines, volumes, accounts)
		}
	})
}

// TestRemovingASnapshotAlone runs the last step of a deletion that never began.
func TestRemovingASnapshotAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		taken := first.Must(snapshotOf{Source: "db1"})
		first.Stop()
		args := snapshotIn(t, taken)
		asked := w.Cancelled(snapshotDeletion{Snapshot: args})
		using := w.Start().Ask(replica{Server: "db2", Snapshot: args})
		p := w.Start()
		p.At(job.BeforeEffect, "plan", func() {})
		if _, err := p.Engine.RetryStep(t.Context(), asked.ID, "remove_snapshot",
			job.ChangeRequest{Who: "tester"}); err != nil {
			t.Fatal(err)
		}
		p.Run()
		s := p.End(asked.ID).Steps[2]
		if s.State != job.StepFailed || s.Failure.Reason != "IN_USE" {
			t.Errorf("%s is %s: %+v", s.Kind, s.State, s.Failure)
		}
		succeeded(t, p.End(using.ID))
		if s = p.Alone(asked.ID, "remove_snapshot"); s.State != job.StepSucceeded {
			t.Fatalf("%s: %+v", s.State, s.Failure)
		}
		if h := w.Host("db1"); len(h.Running.Disk.Data.Reserved) > 0 ||
			w.Snapshot(args).State != inventory.SnapshotDeleted {
			t.Errorf("binary logs are kept for %v, the snapshot is %s",
				h.Running.Disk.Data.Reserved, w.Snapshot(args).State)
		}
	})
}

func TestADeletionReliesOnTheRecordUntilItIsAskedFor(t *testing.T) {
	noted := func(srv *inventory.Server) error { // as the monitor does
		srv.ControlPlane = append(srv.ControlPlane, "192.0.2.9:7443")
		return nil
	}
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		p.Must(replica{Server: "db2", Source: "db1"})
		p.Stop()
		p = w.Start()
		ask := deletion{Server: "db2", Etag: w.Server("db2").Etag()}
		late, err := p.Request(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		changeServer(t, w, "db2", noted)
		if _, err := p.Engine.Create(t.Context(), late); errs.ReasonOf(err) !=
			errorsv1.Reason_REASON_ETAG_MISMATCH {
			t.Errorf("asked with the etag of before: %v", err)
		}
		ask.Etag = w.Server("db2").Etag()
		j := p.Ask(ask)
		changeServer(t, w, "db2", noted)
		succeeded(t, p.Run().End(j.ID))
	})
}

// What an agent recorded of its last calls is fetched while its machine is there, and one that does
// not answer is deleted all the same: that its records are missing is an event.
func TestTheLastRecordsOfAnAgentAreFetched(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		bubbles(t, fmt.Sprintf("down %v", down), func(t *testing.T) {
			w, p := lab(t)
			p.Must(replica{Server: "db2", Source: "db1"})
			w.Mu.Lock()
			h := w.Hosts["db2"]
			h.Down = down
			w.Mu.Unlock()
			p.Must(deletion{Server: "db2"})
			w.Mu.Lock()
			fetched := h.Audited
			w.Mu.Unlock()
			var events []inventory.Event
			err := w.Store.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
				events, _, err = tx.Events().List(ctx, store.EventFilter{Subject: "servers/db2"},
					store.Page{})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			missing := slices.ContainsFunc(events, func(e inventory.Event) bool {
				return e.Action == "audit.missing"
			})
			if fetched == down || missing != down {
				t.Errorf("fetched %v, said to be missing %v", fetched, missing)
			}
		})
	}
}
