package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// TestServerWhoseDeletionStoppedIsGuarded cleans up the job that made a server, after a deletion of
// it was asked for and stopped.
func TestServerWhoseDeletionStoppedIsGuarded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		j := first.Must(replica{Server: "db2", Source: "db1", Cleanup: true})
		first.Stop()
		p := w.Start()
		refuseIn(p, "start_mariadb")
		p.Run()
		redo(t, p, j.ID, "db2", "mount_data")
		p.End(j.ID)
		vol := volumeOf(t, w, "db2")
		become(t, w, "db2", inventory.ServerDeleting)
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		if !atProvider(w, vol) {
			t.Fatalf("volume %s is gone at the provider", vol.ProviderID)
		}
		checkGuarded(t, w, p, j.ID, "db2", func(req job.ChangeRequest) (job.Job, error) {
			return p.Engine.Cleanup(t.Context(), j.ID, req)
		})
		p.End(j.ID)
	})
}
