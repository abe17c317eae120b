package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

// A volume that the provider accepts and gives up has the step done again, under another token.
func TestVolumeThatVanishes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := workflowtest.NewWorld(t)
		p := w.Start().Run()
		p.Behind["CreateVolume"] = func() {
			w.Mu.Lock()
			defer w.Mu.Unlock()
			for id, v := range w.Cloud.Volumes {
				if v.Tags[kit.TagRole] == kit.RoleData {
					delete(w.Cloud.Volumes, id)
				}
			}
		}
		failed := p.End(p.Ask(primary{Server: "db1"}).ID)
		step, _ := failed.Step("swap_volume")
		if f := step.Failure; f == nil || f.Reason != "PROVIDER_ERROR" ||
			!strings.Contains(f.Message, "no volume was made") {
			t.Fatalf("the step says %+v", f)
		}
		if _, err := p.Engine.Redo(t.Context(), failed.ID, "swap_volume", asTester); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(failed.ID))
	})
}
