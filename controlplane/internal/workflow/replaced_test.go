package workflow_test

import (
	"context"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// volumeOf is the record of the data volume that a server has now.
func volumeOf(t *testing.T, w *world, server string) inventory.Volume {
	t.Helper()
	return volume(t, w, w.Server(server).DataVolume)
}

func volume(t *testing.T, w *world, id string) (vol inventory.Volume) {
	t.Helper()
	err := w.Store.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		vol, err = tx.Volumes().Get(ctx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return vol
}

func atProvider(w *world, v inventory.Volume) bool {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	return w.Cloud.Volumes[v.ProviderID] != nil
}

// checkKept expects a replaced volume to be at the provider, and on record as attached to nothing.
func checkKept(t *testing.T, w *world, old inventory.Volume) {
	t.Helper()
	if !atProvider(w, old) {
		t.Errorf("volume %s is gone at the provider", old.ProviderID)
	}
	if rec := volume(t, w, old.ID); rec.State != inventory.VolumeAvailable || rec.MachineID != "" {
		t.Errorf("volume %s is recorded as %s, attached to %q", old.ID, rec.State, rec.MachineID)
	}
}

// checkGone expects a replaced volume to be nowhere.
func checkGone(t *testing.T, w *world, old inventory.Volume) {
	t.Helper()
	if atProvider(w, old) {
		t.Errorf("volume %s is left at the provider", old.ProviderID)
	}
	if rec := volume(t, w, old.ID); rec.State != inventory.VolumeDeleted {
		t.Errorf("volume %s is recorded as %s", old.ID, rec.State)
	}
}

// making are the jobs that make a server.
var making = map[string]workflowtest.Asked{"db2": replicaArgs, "db3": primary{Server: "db3"}}

// made is a world with a READY server, the job that made it, its data volume, and a process that
// does not run yet.
func made(t *testing.T, server string) (*world, *process, job.Job, inventory.Volume) {
	t.Helper()
	w, first := lab(t)
	j := first.Must(making[server])
	first.Stop()
	return w, w.Start(), j, volumeOf(t, w, server)
}

func redo(t *testing.T, p *process, id, server, step string) {
	t.Helper()
	if _, err := p.Engine.Redo(t.Context(), id, step, p.W.Confirmed(server)); err != nil {
		t.Fatal(err)
	}
}

// refuseIn makes the step fail for good, once.
func refuseIn(p *process, step string) {
	p.At(job.BeforeEffect, step, func() {
		p.Fail["Status"] = []error{errs.New(errs.FailedPrecondition,
			errorsv1.Reason_REASON_MARIADB_SETTING, "it is not as it should be")}
	})
}

var replacing = []string{"swap_volume", "create_machine"}

func TestReplacedVolumeIsKeptUntilTheServerIsReady(t *testing.T) {
	t.Parallel()
	for server := range making {
		for _, step := range replacing {
			bubbles(t, server+" "+step, func(t *testing.T) {
				w, p, j, first := made(t, server)
				refuseIn(p, "start_mariadb")
				p.Run()
				redo(t, p, j.ID, server, step)
				if j = p.End(j.ID); j.State != job.Failed {
					t.Fatalf("job is %s\n%s", j.State, states(j))
				}
				checkKept(t, w, first)
				// what the job does alone proves nothing of the volume either
				for _, alone := range []string{"settle", "mount_data"} {
					p.Alone(j.ID, alone)
					checkKept(t, w, first)
				}

				second := volumeOf(t, w, server)
				refuseIn(p, "finish")
				redo(t, p, j.ID, server, step)
				if j = p.End(j.ID); j.State != job.Failed {
					t.Fatalf("job is %s\n%s", j.State, states(j))
				}
				checkKept(t, w, first)
				checkKept(t, w, second)

				if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
					t.Fatal(err)
				}
				succeeded(t, p.End(j.ID))
				checkGone(t, w, first)
				checkGone(t, w, second)
				if now := volumeOf(t, w, server); !atProvider(w, now) ||
					now.State != inventory.VolumeAttached {
					t.Errorf("the server's volume: %+v", now)
				}
			})
		}
	}
}

// An operator who skips the proof that the server is READY has not proved it.
func TestReplacedVolumeIsKeptWhenTheProofIsSkipped(t *testing.T) {
	t.Parallel()
	for server := range making {
		bubbles(t, server, func(t *testing.T) {
			w, p, j, first := made(t, server)
			refuseIn(p, "start_mariadb")
			p.Run()
			redo(t, p, j.ID, server, "swap_volume")
			p.End(j.ID)
			if _, err := p.Engine.Skip(t.Context(), j.ID, "finish",
				job.ChangeRequest{Who: "tester", Reason: "it is fine"}); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			succeeded(t, p.End(j.ID))
			checkKept(t, w, first)
		})
	}
}

// TestKilledWhileAVolumeIsReplaced kills the process in each step until the server is READY.
func TestKilledWhileAVolumeIsReplaced(t *testing.T) {
	t.Parallel()
	steps := replicaSteps(t)
	steps = steps[slices.Index(steps, "create_machine"):slices.Index(steps, "finish")]
	for i, step := range steps {
		for _, point := range []job.Point{job.BeforeEffect, job.AfterEffect} {
			from := replacing[min(1, i%3)] // both kinds of redo, in turn
			if i < slices.Index(steps, "swap_volume") {
				from = "create_machine"
			}
			bubbles(t, from+" "+step+" "+string(point), func(t *testing.T) {
				w, p, j, old := made(t, "db2")
				killed := p.KillAt(point, step)
				p.Run()
				redo(t, p, j.ID, "db2", from)
				<-killed
				next := w.Start()
				next.At(job.AfterEffect, "finish", func() {
					if w.Cloud.Volumes[old.ProviderID] == nil {
						t.Error("the volume went before the server was READY on another one")
					}
				})
				next.Run()
				succeeded(t, next.End(j.ID))
				checkGone(t, w, old)
				w.CheckReplica(t, "db2")
				w.CheckOnce(t, "killed in "+step)
			})
		}
	}
}

// TestNothingIsLeftOfReplacedVolumes removes a server whose volume was replaced in vain.
func TestNothingIsLeftOfReplacedVolumes(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(w *world, p *process, id string) job.Job{
		"cleanup": func(w *world, p *process, id string) job.Job {
			if _, err := p.Engine.Cleanup(w.T.Context(), id, w.Confirmed("db2")); err != nil {
				w.T.Fatal(err)
			}
			return p.End(id)
		},
		"delete_server": func(_ *world, p *process, _ string) job.Job {
			return p.Must(deletion{Server: "db2"})
		},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p, j, old := made(t, "db2")
			refuseIn(p, "finish")
			p.Run()
			redo(t, p, j.ID, "db2", "swap_volume")
			p.End(j.ID)
			now := volumeOf(t, w, "db2")
			gone(w, p, j.ID)
			if srv := w.Server("db2"); srv.State != inventory.ServerDeleted {
				t.Errorf("db2 is %s", srv.State)
			}
			checkGone(t, w, old)
			checkGone(t, w, now)
		})
	}
}
