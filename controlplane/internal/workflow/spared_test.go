package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

// TestCleanupFlagSparesAServerThatWasReady redoes a step of a job that was asked to remove what it
// made when it fails, once what it made is in use.
func TestCleanupFlagSparesAServerThatWasReady(t *testing.T) {
	t.Parallel()
	asks := map[string]workflowtest.Asked{
		"db2": replica{Server: "db2", Source: "db1", Cleanup: true},
		"db3": primary{Server: "db3", Cleanup: true},
	}
	for server, asked := range asks {
		for _, step := range []string{"mount_data", "swap_volume", "create_machine"} {
			bubbles(t, server+" "+step, func(t *testing.T) {
				w, first := lab(t)
				j := first.Must(asked)
				first.Stop()
				vol := volumeOf(t, w, server)
				p := w.Start()
				refuseIn(p, "start_mariadb")
				p.Run()
				redo(t, p, j.ID, server, step)
				if j = p.End(j.ID); j.State != job.Failed {
					t.Fatalf("job is %s\n%s", j.State, states(j))
				}
				if srv := w.Server(server); srv.State != inventory.ServerReady {
					t.Errorf("%s is %s", server, srv.State)
				}
				if !atProvider(w, vol) {
					t.Errorf("volume %s is gone at the provider", vol.ProviderID)
				}
			})
		}
	}
}

// TestCleanupFlagSparesAServerWhoseRedoIsCancelled cancels instead.
func TestCleanupFlagSparesAServerWhoseRedoIsCancelled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(primary{Server: "db3", Cleanup: true})
		vol := volumeOf(t, w, "db3")
		redo(t, p, j.ID, "db3", "mount_data")
		if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		if !atProvider(w, vol) {
			t.Errorf("volume %s is gone at the provider", vol.ProviderID)
		}
	})
}

// TestReplacedVolumeOfAPrimaryIsGuarded replaces the volume of a primary that failed after its
// MariaDB was up, in vain: the volume that is kept has its data still.
func TestReplacedVolumeOfAPrimaryIsGuarded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j := brokenOff(t, primary{Server: "db3"}, "finish")
		kept := volumeOf(t, w, "db3")
		refuseIn(p, "start_mariadb")
		redo(t, p, j.ID, "db3", "swap_volume")
		if j = p.End(j.ID); j.State != job.Failed {
			t.Fatalf("job is %s\n%s", j.State, states(j))
		}
		checkKept(t, w, kept)
		checkGuarded(t, w, p, j.ID, "db3", func(req job.ChangeRequest) (job.Job, error) {
			return p.Engine.Cleanup(t.Context(), j.ID, req)
		})
		p.End(j.ID)
	})
}
