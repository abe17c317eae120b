package workflow_test

import (
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// TestRedoneFromAnyStepNothingIsThereTwice: what an effect made anew takes the place of is taken
// away, at the provider and on record.
func TestRedoneFromAnyStepNothingIsThereTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(replica{Server: "db2", Source: "db1"})
		for _, s := range j.Steps {
			if _, err := p.Engine.Redo(t.Context(), j.ID, s.Kind, w.Confirmed("db2")); err != nil {
				t.Fatalf("redo %s: %v", s.Kind, err)
			}
			succeeded(t, p.End(j.ID))
			w.CheckOnce(t, "redone from "+s.Kind)
			if srv := w.Server("db2"); srv.State != inventory.ServerReady {
				t.Errorf("redone from %s the replica is %s", s.Kind, srv.State)
			}
		}
	})
}

// TestReplacedVolumeIsKeptUntilReady: the data that a redo replaces are there until the server is
// READY on the new volume.
func TestReplacedVolumeIsKeptUntilReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		j := first.Must(replica{Server: "db2", Source: "db1"})
		first.Stop()
		old := dataVolume(w, j)
		kept := false
		p := w.Start()
		p.At(job.AfterEffect, "verify", func() { _, kept = w.Cloud.Volumes[old] })
		p.Run()
		_, err := p.Engine.Redo(t.Context(), j.ID, "swap_volume", w.Confirmed("db2"))
		if err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(j.ID))
		if !kept {
			t.Errorf("volume %q was deleted before the server was READY on another", old)
		}
		w.CheckOnce(t, "redone")
	})
}

// dataVolume is the provider's id of the volume that a job made.
func dataVolume(w *world, j job.Job) string {
	for id, v := range w.Cloud.Volumes {
		if v.Tags[kit.TagJob] == j.ID && v.Tags[kit.TagRole] == kit.RoleData {
			return id
		}
	}
	return ""
}

// TestCancelledAnywhereARetryConverges cancels the job behind each step, before its outcome is
// recorded, and asks it to go on.
func TestCancelledAnywhereARetryConverges(t *testing.T) {
	t.Parallel()
	for _, step := range replicaSteps(t) {
		bubbles(t, step, func(t *testing.T) {
			w, p, j := cancelledIn(t, step)
			if j.State == job.Succeeded { // nothing was left to cancel
				return
			}
			if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			succeeded(t, p.End(j.ID))
			w.CheckReplica(t, "db2")
			w.CheckOnce(t, "cancelled in "+step)
		})
	}
}

func cancelledIn(t *testing.T, step string) (*world, *process, job.Job) {
	t.Helper()
	w, first := lab(t)
	first.Stop()
	p := w.Start()
	reached, goOn := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached); <-goOn })
	p.OnPoint(func(at job.Point, in string) {
		if at == job.AfterEffect && in == step {
			once()
		}
	})
	p.Run()
	j := p.Ask(replica{Server: "db2", Source: "db1"})
	<-reached
	if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	return w, p, p.End(j.ID)
}

// TestStepOfAMachineIsRefusedWithoutOne: a step that is run alone does not wait for an agent that
// cannot come.
func TestStepOfAMachineIsRefusedWithoutOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p, j := cancelledIn(t, "plan")
		for _, step := range []string{"await_agent", "swap_volume"} {
			if _, err := p.Engine.RetryStep(t.Context(), j.ID, step,
				job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			for _, s := range p.End(j.ID).Steps {
				if s.Kind == step && (s.Failure == nil || s.Failure.Reason != "MACHINE_GONE" ||
					s.Failure.Hint.Empty()) {
					t.Errorf("%s: %+v", step, s.Failure)
				}
			}
		}
	})
}
