package workflow_test

import (
	"context"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// TestNoRecordNamesAMountOfWhatIsTakenAway looks before and after each effect of the jobs that take
// a volume from its machine: there a crash or a cancel may end them.
func TestNoRecordNamesAMountOfWhatIsTakenAway(t *testing.T) {
	t.Parallel()
	redo := func(step string) func(p *process, made job.Job) job.Job {
		return func(p *process, made job.Job) job.Job {
			j, err := p.engine.Redo(p.w.t.Context(), made.ID, step, p.w.confirmed("db2"))
			if err != nil {
				p.w.t.Fatal(err)
			}
			return j
		}
	}
	for name, ask := range map[string]func(p *process, made job.Job) job.Job{
		"delete_server": func(p *process, _ job.Job) job.Job {
			return p.ask(deletion{Server: "db2"})
		},
		"redo create_machine": redo("create_machine"),
		"redo swap_volume":    redo("swap_volume"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, first := lab(t)
			made := first.must(replica{Server: "db2", Source: "db1"})
			first.stop()
			if len(w.server("db2").Mounts) == 0 {
				t.Fatal("the replica has no mount on record")
			}
			p := w.start()
			p.hook = func(at job.Point, in string) { w.checkMounts(t, string(at)+" "+in) }
			p.run()
			succeeded(t, p.end(ask(p, made).ID))
		})
	}
}

// checkMounts holds each mount on record to what the provider has.
func (w *world) checkMounts(t *testing.T, when string) {
	t.Helper()
	err := w.store.Read(context.WithoutCancel(t.Context()),
		func(ctx context.Context, tx *store.Tx) error {
			servers, _, err := tx.Servers().List(ctx, store.ServerFilter{}, store.Page{})
			if err != nil {
				return err
			}
			for _, srv := range servers {
				for _, m := range srv.Mounts {
					record, err := tx.Volumes().Get(ctx, m.Volume)
					if err != nil {
						return err
					}
					if at := w.machineWith(record.ProviderID); at != srv.MachineID || at == "" {
						t.Errorf("%s: %s has a mount of %s recorded, which is attached to %q", when,
							srv.Name, m.Volume, at)
					}
				}
			}
			return nil
		})
	if err != nil {
		t.Error(err)
	}
}

func (w *world) machineWith(volume string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.cloud.volumes[volume]; v != nil {
		return v.MachineID
	}
	return ""
}
