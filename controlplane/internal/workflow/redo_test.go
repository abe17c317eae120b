package workflow_test

import (
	"context"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
)

// TestRedoneFromAnyStepNothingIsThereTwice: what an effect made anew takes the place of is taken away, at the provider and on record.
func TestRedoneFromAnyStepNothingIsThereTwice(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	j := p.must(workflow.KindCreateReplica, workflow.Args{Server: "db2", Source: "db1"})
	for _, s := range j.Steps {
		if _, err := p.engine.Redo(t.Context(), j.ID, s.Kind, job.Ask{Who: "tester", Reason: "to see"}); err != nil {
			t.Fatalf("redo %s: %v", s.Kind, err)
		}
		succeeded(t, p.end(j.ID))
		w.mu.Lock()
		running := 0
		for _, m := range w.cloud.machines {
			if m.State == provider.MachineRunning {
				running++
			}
		}
		if m, v, c := running, len(w.cloud.volumes), len(w.cloud.snapshots); m != 2 || v != 2 || c != 1 {
			t.Errorf("redone from %s there are %d machines, %d volumes, %d snapshots", s.Kind, m, v, c)
		}
		w.mu.Unlock()
		if n := w.volumesOnRecord(); n != 2 {
			t.Errorf("redone from %s there are %d volumes on record", s.Kind, n)
		}
		if srv := w.server("db2"); srv.State != inventory.ServerReady {
			t.Errorf("redone from %s the replica is %s", s.Kind, srv.State)
		}
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
