package workflow_test

import (
	"context"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// TestRedoneFromAnyStepNothingIsThereTwice: what an effect made anew takes the place of is taken
// away, at the provider and on record.
func TestRedoneFromAnyStepNothingIsThereTwice(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	j := p.must(replica{Server: "db2", Source: "db1"})
	for _, s := range j.Steps {
		if _, err := p.engine.Redo(t.Context(), j.ID, s.Kind, w.confirmed("db2")); err != nil {
			t.Fatalf("redo %s: %v", s.Kind, err)
		}
		succeeded(t, p.end(j.ID))
		w.checkOnce(t, "redone from "+s.Kind)
		if srv := w.server("db2"); srv.State != inventory.ServerReady {
			t.Errorf("redone from %s the replica is %s", s.Kind, srv.State)
		}
	}
}

// TestCancelledAnywhereARetryConverges cancels the job behind each step, before its outcome is
// recorded, and asks it to go on.
func TestCancelledAnywhereARetryConverges(t *testing.T) {
	t.Parallel()
	for _, step := range replicaSteps(t) {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w, p, j := cancelledIn(t, step)
			if j.State == job.Succeeded { // nothing was left to cancel
				return
			}
			if _, err := p.engine.Retry(t.Context(), j.ID, job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			succeeded(t, p.end(j.ID))
			w.checkReplica(t, "db2")
			w.checkOnce(t, "cancelled in "+step)
		})
	}
}

func cancelledIn(t *testing.T, step string) (*world, *process, job.Job) {
	t.Helper()
	w, first := lab(t)
	first.stop()
	p := w.start()
	reached, goOn := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached); <-goOn })
	p.hook = func(at job.Point, in string) {
		if at == job.AfterEffect && in == step {
			once()
		}
	}
	p.run()
	j := p.ask(replica{Server: "db2", Source: "db1"})
	<-reached
	if _, err := p.engine.Cancel(t.Context(), j.ID, job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	return w, p, p.end(j.ID)
}

// TestStepOfAMachineIsRefusedWithoutOne: a step that is run alone does not wait for an agent that
// cannot come.
func TestStepOfAMachineIsRefusedWithoutOne(t *testing.T) {
	t.Parallel()
	_, p, j := cancelledIn(t, "plan")
	for _, step := range []string{"await_agent", "swap_volume"} {
		if _, err := p.engine.RetryStep(t.Context(), j.ID, step,
			job.ChangeRequest{Who: "tester"}); err != nil {
			t.Fatal(err)
		}
		for _, s := range p.end(j.ID).Steps {
			if s.Kind == step && (s.Failure == nil || s.Failure.Reason != "MACHINE_GONE" ||
				s.Failure.Hint.Empty()) {
				t.Errorf("%s: %+v", step, s.Failure)
			}
		}
	}
}

// checkOnce expects one machine and volume of each server, and one snapshot, at the provider and on
// record.
func (w *world) checkOnce(t *testing.T, when string) {
	t.Helper()
	w.mu.Lock()
	machines := 0
	for _, m := range w.cloud.machines {
		if m.State == provider.MachineRunning {
			machines++
		}
	}
	volumes, snapshots := len(w.cloud.volumes), len(w.cloud.snapshots)
	w.mu.Unlock()
	if recorded := w.volumesOnRecord(); machines != 2 || volumes != 2 || snapshots != 1 ||
		recorded != 2 {
		t.Errorf("%s there are %d machines, %d volumes, %d snapshots, and %d volumes on record",
			when, machines, volumes, snapshots, recorded)
	}
}

func (w *world) volumesOnRecord() (n int) {
	w.t.Helper()
	err := w.store.Read(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Volumes().List(ctx, store.VolumeFilter{}, store.Page{})
		for _, v := range list {
			if v.State != inventory.VolumeDeleted {
				n++
			}
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}
