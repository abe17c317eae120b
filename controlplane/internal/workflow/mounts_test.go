package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// TestNoRecordNamesAMountOfWhatIsTakenAway looks before and after each effect of the jobs that take
// a volume from its machine: there a crash or a cancel may end them.
func TestNoRecordNamesAMountOfWhatIsTakenAway(t *testing.T) {
	t.Parallel()
	redo := func(step string) func(p *process, made job.Job) job.Job {
		return func(p *process, made job.Job) job.Job {
			j, err := p.Engine.Redo(p.W.T.Context(), made.ID, step, p.W.Confirmed("db2"))
			if err != nil {
				p.W.T.Fatal(err)
			}
			return j
		}
	}
	for name, ask := range map[string]func(p *process, made job.Job) job.Job{
		"delete_server": func(p *process, _ job.Job) job.Job {
			return p.Ask(deletion{Server: "db2"})
		},
		"redo create_machine": redo("create_machine"),
		"redo swap_volume":    redo("swap_volume"),
	} {
		bubbles(t, name, func(t *testing.T) {
			w, first := lab(t)
			made := first.Must(replica{Server: "db2", Source: "db1"})
			first.Stop()
			if len(w.Server("db2").Mounts) == 0 {
				t.Fatal("the replica has no mount on record")
			}
			p := w.Start()
			p.OnPoint(func(at job.Point, in string) { w.CheckMounts(t, string(at)+" "+in) })
			p.Run()
			succeeded(t, p.End(ask(p, made).ID))
		})
	}
}
