package workflow_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

type rebuild = workflowtest.Rebuild

// broken is a world with a replica that was READY and is broken, the job that made it, its volume,
// and a process that does not run yet.
func broken(t *testing.T, how func(h *host)) (*world, *process, job.Job, inventory.Volume) {
	t.Helper()
	w, p, j, old := made(t, "db2")
	w.Mu.Lock()
	defer w.Mu.Unlock()
	how(w.Hosts["db2"])
	return w, p, j, old
}

func sqlThreadStops(h *host) {
	c := h.Running.Disk.Data.Conn
	c.SQL, c.SQLErrno, c.SQLError = false, 1032, "Can't find record in 'orders'"
}

// ways are how a replica is broken.
var ways = map[string]func(h *host){
	"not at all":               func(*host) {},
	"SQL thread stopped":       sqlThreadStops,
	"MariaDB does not start":   func(h *host) { h.Stop(); h.Masked = true },
	"torn datadir":             func(h *host) { h.Running.Disk.Data = nil; h.Stop() },
	"device gone at the host":  func(h *host) { h.Lose(); h.Stop() },
	"volume taken off":         func(h *host) { h.TakeOff(); h.Stop() },
	"nothing is mounted there": func(h *host) { h.Stop(); clear(h.Mounts) },
}

func TestRebuiltFromEveryBrokenState(t *testing.T) {
	t.Parallel()
	for name, how := range ways {
		bubbles(t, name, func(t *testing.T) {
			w, p, _, old := broken(t, how)
			before := w.Server("db2")
			p.Run()
			j := p.Must(rebuild{Server: "db2", Verify: inventory.VerifyFull})
			w.CheckReplica(t, "db2")
			checkGone(t, w, old)
			now := w.Server("db2")
			if now.ServerID != before.ServerID || now.MachineID != before.MachineID ||
				now.DataVolume == before.DataVolume ||
				now.Verified.Level != inventory.VerifyFull {
				t.Errorf("it was %+v, and is %+v", before, now)
			}
			if h := w.Host("db2"); h.StartsOn[h.Running.Disk.UUID] != 1 ||
				h.File.SkipReplicaStart {
				t.Errorf("starts %v, settings %+v", h.StartsOn, h.File)
			}
			if name == "not at all" {
				t.Log("\n" + states(j))
			}
		})
	}
}

// TestReadyIsTakenBackWithTheRequest looks at the record before any step has run.
func TestReadyIsTakenBackWithTheRequest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, j, old := broken(t, func(*host) {})
		again := p.Ask(rebuild{Server: "db2"})
		srv := w.Server("db2")
		if srv.State != inventory.ServerProvisioning ||
			!strings.Contains(srv.StateReason, again.ID) || srv.Job != again.ID ||
			srv.Verified != (inventory.Verification{}) {
			t.Errorf("%+v", srv)
		}
		if vol := volume(t, w, old.ID); vol.Job != again.ID {
			t.Errorf("its volume is of job %s", vol.Job)
		}
		for name, ask := range map[string]func() error{
			"a redo of its making": func() error {
				_, err := p.Engine.Redo(t.Context(), j.ID, "swap_volume", w.Confirmed("db2"))
				return err
			},
			"a second rebuild": func() error {
				req, err := p.Request(t.Context(), rebuild{Server: "db2"})
				if err == nil {
					_, err = p.Engine.Create(t.Context(), req)
				}
				return err
			},
		} {
			if err := ask(); err == nil {
				t.Errorf("%s is taken", name)
			}
		}
	})
}

// TestOldCopyServesUntilTheNewOneIsThere looks whether MariaDB runs on the old volume.
func TestOldCopyServesUntilTheNewOneIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _, _ := broken(t, sqlThreadStops)
		served, attached := false, false
		for _, step := range []string{"quiesce", "await_ready"} {
			p.At(job.AfterEffect, step, func() { served = w.Hosts["db2"].Running != nil })
		}
		p.Behind["AttachVolume"] = func() { attached = w.Host("db2").Running != nil }
		p.Run()
		p.Must(rebuild{Server: "db2"})
		if !served || !attached {
			t.Errorf("it served until the snapshot was there: %v, until the volume was "+
				"attached: %v", served, attached)
		}
	})
}

func TestKilledInEachStepOfARebuild(t *testing.T) {
	t.Parallel()
	plan, _ := workflowtest.NewWorld(t).Start().Engine.Plan(replicate.KindRebuildReplica)
	how := slices.Sorted(maps.Keys(ways))
	for i, step := range plan.Steps {
		for _, point := range []job.Point{job.BeforeEffect, job.AfterEffect} {
			way := how[i%len(how)]
			bubbles(t, fmt.Sprintf("%s/%s/%s", step.Kind, point, way), func(t *testing.T) {
				w, p, _, old := broken(t, ways[way])
				killed := p.KillAt(point, step.Kind)
				p.Run()
				j := p.Ask(rebuild{Server: "db2"})
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
			})
		}
	}
}

// TestEndedRebuildKeepsTheOldVolume has a rebuild fail, or be cancelled, before and behind the
// exchange of the volumes; the next one, or a retry, makes the replica READY.
func TestEndedRebuildKeepsTheOldVolume(t *testing.T) {
	t.Parallel()
	for step, want := range map[string]inventory.ServerState{
		"plan": inventory.ServerDegraded, "quiesce": inventory.ServerDegraded,
		"start_mariadb": inventory.ServerFailed, "finish": inventory.ServerFailed,
	} {
		for _, again := range []string{"retry", "rebuild", "delete"} {
			bubbles(t, step+" "+again, func(t *testing.T) {
				w, p, _, old := broken(t, sqlThreadStops)
				refuseAt(p, step, "Status", "Hold")
				p.Run()
				j := p.End(p.Ask(rebuild{Server: "db2"}).ID)
				if j.State != job.Failed {
					t.Fatalf("job is %s\n%s", j.State, states(j))
				}
				if srv := w.Server("db2"); srv.State != want ||
					!strings.Contains(srv.StateReason, j.ID) {
					t.Errorf("db2 is %s: %s", srv.State, srv.StateReason)
				}
				if !atProvider(w, old) {
					t.Error("its volume is gone")
				}
				settle, _ := j.Step("settle")
				if told := strings.Contains(strings.Join(settle.Found, "\n"), "its old volume "+
					old.ProviderID); told != (want == inventory.ServerFailed) {
					t.Errorf("where its volumes are: %q", settle.Found)
				}
				w.CheckPrimaryUntouched(t)
				switch again {
				case "retry":
					if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
						t.Fatal(err)
					}
					succeeded(t, p.End(j.ID))
				case "rebuild":
					p.Must(rebuild{Server: "db2"})
				case "delete":
					p.Must(deletion{Server: "db2"})
					if m, v, a := w.Left("db2"); m+v+a > 0 {
						t.Errorf("left: %d machines, %d volumes, %d accounts", m, v, a)
					}
					return
				}
				checkGone(t, w, old)
				w.CheckReplica(t, "db2")
			})
		}
	}
}

// refuseAt makes the step fail for good, once.
func refuseAt(p *process, step string, calls ...string) {
	p.At(job.BeforeEffect, step, func() {
		for _, call := range calls {
			p.Fail[call] = []error{errs.New(errs.FailedPrecondition,
				errorsv1.Reason_REASON_MARIADB_SETTING, "it is not as it should be")}
		}
	})
	p.At(job.AfterEffect, step, func() { clear(p.Fail) })
}

// TestCancelledBeforeItBeganARebuildLeavesAServerThatCanBeDeleted: its machine has the tags of the
// job that made it.
func TestCancelledBeforeItBeganARebuildLeavesAServerThatCanBeDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, made, _ := broken(t, func(*host) {})
		j := p.Ask(rebuild{Server: "db2"})
		if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.Run()
		if j = p.End(j.ID); j.State != job.Cancelled {
			t.Fatalf("job is %s\n%s", j.State, states(j))
		}
		if srv := w.Server("db2"); srv.State != inventory.ServerDegraded {
			t.Errorf("db2 is %s: %s", srv.State, srv.StateReason)
		}
		if _, err := p.Engine.Redo(t.Context(), made.ID, "plan",
			w.Confirmed("db2")); err == nil {
			if j := p.End(made.ID); j.State != job.Failed {
				t.Errorf("the job that made it is %s\n%s", j.State, states(j))
			}
		}
		p.Must(deletion{Server: "db2"})
		if m, v, a := w.Left("db2"); m+v+a > 0 {
			t.Errorf("left: %d machines, %d volumes, %d accounts", m, v, a)
		}
	})
}

// TestJobThatMadeItReachesItNoMore cleans up, and redoes, the job that made what was rebuilt.
func TestJobThatMadeItReachesItNoMore(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"cleanup", "redo"} {
		bubbles(t, what, func(t *testing.T) {
			w, p, j := brokenOff(t, replicaArgs, "finish")
			p.Must(rebuild{Server: "db2"})
			switch what {
			case "cleanup":
				if _, err := p.Engine.Cleanup(t.Context(), j.ID, asTester); err == nil {
					p.End(j.ID)
				}
			case "redo":
				if _, err := p.Engine.Redo(t.Context(), j.ID, "swap_volume", asTester); err == nil {
					p.End(j.ID)
				}
			}
			w.CheckReplica(t, "db2")
		})
	}
}

// TestJobThatMadeItRemovesNothingThatWasTakenOver has a rebuild end while the provider could not be
// told whose machine and volume that are now.
func TestJobThatMadeItRemovesNothingThatWasTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, made := brokenOff(t, replicaArgs, "finish")
		old := volumeOf(t, w, "db2")
		j := p.Ask(rebuild{Server: "db2"})
		if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.End(j.ID)
		machine := w.Server("db2").MachineID
		w.Mu.Lock()
		w.Cloud.Machines[machine].Tags[kit.TagJob] = made.ID
		w.Cloud.Volumes[old.ProviderID].Tags[kit.TagJob] = made.ID
		w.Mu.Unlock()
		if _, err := p.Engine.Cleanup(t.Context(), made.ID, asTester); err != nil {
			t.Fatal(err)
		}
		p.End(made.ID)
		w.Mu.Lock()
		defer w.Mu.Unlock()
		if m := w.Cloud.Machines[machine]; m.State != "running" ||
			w.Cloud.Volumes[old.ProviderID] == nil {
			t.Errorf("the clean-up took machine %+v, or volume %s", m, old.ProviderID)
		}
	})
}

func TestRebuildTakesOverWhatTheReplicaWasAskedForWith(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		p.Must(replica{Server: "db2", Source: "db1", VolumeBytes: 8 << 30,
			Options: map[string]string{"max_connections": "77"}})
		taken := snapshotIn(t, p.Must(snapshotOf{Source: "db1"}))
		for _, from := range []string{"", taken} {
			j := p.Must(rebuild{Server: "db2", Snapshot: from})
			if got := w.Host("db2").File.Options["max_connections"]; got != "77" {
				t.Errorf("max_connections is %q", got)
			}
			if vol := volumeOf(t, w, "db2"); vol.SizeBytes != 8<<30 ||
				from != "" && vol.Snapshot != from {
				t.Errorf("its volume: %+v", vol)
			}
			if from != "" && snapshotIn(t, j) != from {
				t.Errorf("it was made from %s", snapshotIn(t, j))
			}
		}
	})
}

func TestRebuildIsRefusedBeforeAnythingIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ask   rebuild
		plant func(w *world)
		says  string
	}{
		"a primary":           {ask: rebuild{Server: "db1"}, says: "not a replica"},
		"no such server":      {ask: rebuild{Server: "db7"}, says: "db7"},
		"no such snapshot":    {ask: rebuild{Server: "db2", Snapshot: "snap-0"}, says: "snap-0"},
		"a level unheard of":  {ask: rebuild{Server: "db2", Verify: "maybe"}, says: "verify"},
		"an older record":     {ask: rebuild{Server: "db2", Etag: "r1"}, says: "changed"},
		"a primary down":      {ask: rebuild{Server: "db2"}, plant: down("db1"), says: "db1"},
		"the replica is down": {ask: rebuild{Server: "db2"}, plant: down("db2"), says: "db2"},
		"an older MariaDB": {ask: rebuild{Server: "db2"}, says: "never goes back",
			plant: func(w *world) { w.Hosts["db2"].Binary = "10.11.14" }},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p, _, _ := broken(t, func(*host) {})
			if c.plant != nil {
				w.Mu.Lock()
				c.plant(w)
				w.Mu.Unlock()
			}
			before, mark := w.Server("db2"), w.Mark()
			_, err := p.Flow.DryRun(t.Context(), kit.Request{Args: c.ask.Args()})
			if err == nil || !strings.Contains(err.Error()+fmt.Sprint(errs.FieldsOf(err)), c.says) {
				t.Errorf("%v", err)
			}
			after := w.Server("db2")
			a, _ := json.Marshal(before)
			b, _ := json.Marshal(after)
			if string(a) != string(b) || len(w.Changes(mark)) > 0 {
				t.Errorf("it was %s, and is %s; changes %v", a, b, w.Changes(mark))
			}
		})
	}
}

func down(server string) func(w *world) {
	return func(w *world) { w.Hosts[server].Down = true }
}
