package workflow_test

import (
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// checkCleanupRefused cleans a job up, and expects the step to refuse as others use what would go.
func checkCleanupRefused(t *testing.T, p *process, id, step string, req job.ChangeRequest) {
	t.Helper()
	if _, err := p.Engine.Cleanup(t.Context(), id, req); err != nil {
		t.Fatal(err)
	}
	j := p.End(id)
	if s, _ := j.Step(step); s == nil || s.Failure == nil || s.Failure.Reason != "IN_USE" {
		t.Errorf("job is %s\n%s", j.State, states(j))
	}
}

// TestCleanupSparesAPrimaryWithReplicas cleans up the job that made a primary, which failed when a
// step of it was redone.
func TestCleanupSparesAPrimaryWithReplicas(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		j := first.Must(primary{Server: "db3"})
		first.Must(replica{Server: "db4", Source: "db3"})
		first.Stop()
		p := w.Start()
		refuseIn(p, "start_mariadb")
		p.Run()
		redo(t, p, j.ID, "db3", "mount_data")
		p.End(j.ID)
		vol := volumeOf(t, w, "db3")
		checkCleanupRefused(t, p, j.ID, "remove_account", w.Confirmed("db3"))
		if srv := w.Server("db3"); srv.State != inventory.ServerFailed || !atProvider(w, vol) {
			t.Errorf("db3 is %s", srv.State)
		}
		p.Must(deletion{Server: "db4"})
		if _, err := p.Engine.Cleanup(t.Context(), j.ID, w.Confirmed("db3")); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		if srv := w.Server("db3"); srv.State != inventory.ServerDeleted {
			t.Errorf("db3 is %s", srv.State)
		}
	})
}

// TestCleanupSparesASnapshotInUse cleans up a job while another one makes a replica from its
// snapshot.
func TestCleanupSparesASnapshotInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first, j := brokenOff(t, replica{Server: "db2", Source: "db1"}, "finish")
		first.Stop()
		p := w.Start()
		reached, goOn, once := make(chan struct{}), make(chan struct{}), sync.Once{}
		p.OnPoint(func(at job.Point, step string) {
			if at == job.BeforeEffect && step == "swap_volume" {
				once.Do(func() { close(reached) })
				<-goOn
			}
		})
		p.Run()
		other := p.Ask(replica{Server: "db5", Snapshot: snapshotIn(t, j)})
		<-reached
		checkCleanupRefused(t, p, j.ID, "remove_snapshot", asTester)
		close(goOn)
		succeeded(t, p.End(other.ID))
		if _, err := p.Engine.Cleanup(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		if snap := w.Snapshot(snapshotIn(t, j)); snap.State != inventory.SnapshotDeleted {
			t.Errorf("its snapshot is %s", snap.State)
		}
	})
}
