package workflow_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/machine"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const larger = 8 << 30

var growth = workflowtest.Growth{Server: "db1", Bytes: larger}

// checkGrown expects the volume, its filesystem and its record to have the size, and nothing else
// to have happened to the server.
func checkGrown(t *testing.T, w *world, server string, starts int) {
	t.Helper()
	vol := volumeOf(t, w, server)
	srv, h := w.Server(server), w.Host(server)
	w.Mu.Lock()
	defer w.Mu.Unlock()
	at, disk := w.Cloud.Volumes[vol.ProviderID], w.Cloud.Disks[vol.ProviderID]
	if vol.SizeBytes != larger || at.SizeBytes != larger || disk.Fills != larger {
		t.Errorf("%s: on record %d, at the provider %d, the filesystem %d", server, vol.SizeBytes,
			at.SizeBytes, disk.Fills)
	}
	if srv.State != inventory.ServerReady || h.Running == nil || h.Starts != starts {
		t.Errorf("%s is %s, and was started %d times, not %d", server, srv.State, h.Starts, starts)
	}
}

func TestAVolumeGrowsWhileMariaDBServes(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"db1", "db2"} {
		bubbles(t, server, func(t *testing.T) {
			w, p, _ := withReplica(t)
			starts, mark := w.Host(server).Starts, w.Mark()
			ask := workflowtest.Growth{Server: server, Bytes: larger}
			j := p.Must(ask)
			checkGrown(t, w, server, starts)
			checkReplicates(t, w)
			if changes := w.Changes(mark); !slices.Equal(changes,
				[]string{"cloud:GrowVolume", server + ":GrowFilesystem"}) {
				t.Errorf("it changed %v", changes)
			}
			mark = w.Mark()
			p.Must(ask)
			for _, s := range j.Steps {
				if _, err := p.Engine.RetryStep(t.Context(), j.ID, s.Kind, asTester); err != nil {
					t.Fatal(err)
				}
				succeeded(t, p.End(j.ID))
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("again, and each step alone, it changed %v", changes)
			}
		})
	}
}

// growSteps are the steps of the job.
func growSteps() (names []string) {
	for _, s := range machine.GrowServer().Steps {
		names = append(names, s.Name)
	}
	return names
}

func TestAGrowthThatIsKilledOrCancelledAnywhereIsCompleted(t *testing.T) {
	t.Parallel()
	for _, step := range growSteps() {
		for _, point := range []job.Point{job.BeforeEffect, job.AfterEffect, job.AfterCommit} {
			bubbles(t, "killed/"+step+"/"+string(point), func(t *testing.T) {
				w, first := lab(t)
				first.Stop()
				starts, mark := w.Host("db1").Starts, w.Mark()
				p := w.Start()
				killed := p.KillAt(point, step)
				p.Run()
				j := p.Ask(growth)
				<-killed
				succeeded(t, w.Start().Run().End(j.ID))
				checkGrown(t, w, "db1", starts)
				if changes := w.Changes(mark); len(changes) > 3 { // asked again while it grows
					t.Errorf("it changed %v", changes)
				}
			})
		}
		bubbles(t, "cancelled/"+step, func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			starts := w.Host("db1").Starts
			p := w.Start()
			reached, goOn := make(chan struct{}), make(chan struct{})
			once := false
			p.OnPoint(func(at job.Point, in string) {
				if at == job.BeforeEffect && in == step && !once {
					once = true
					close(reached)
					<-goOn
				}
			})
			p.Run()
			j := p.Ask(growth)
			<-reached
			if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			p.End(j.ID)
			p.Must(growth)
			checkGrown(t, w, "db1", starts)
		})
	}
}

func TestLostAnswersOfAGrowthCostNothing(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"GrowVolume", "GrowFilesystem"} {
		bubbles(t, call, func(t *testing.T) {
			w, p := lab(t)
			starts := w.Host("db1").Starts
			w.Mu.Lock()
			p.Lose[call] = 2
			w.Mu.Unlock()
			p.Must(growth)
			checkGrown(t, w, "db1", starts)
		})
	}
}

// TestAFullVolumeGrows: MariaDB does not answer, and the volume is not what hinders.
func TestAFullVolumeGrows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		w.Mu.Lock()
		w.Hosts["db1"].Stop()
		w.Mu.Unlock()
		p.Must(growth)
		w.Mu.Lock()
		w.Hosts["db1"].Start()
		w.Mu.Unlock()
		checkGrown(t, w, "db1", 2)
	})
}

func TestWhatCannotGrowIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plant        func(w *world, h *host, d *disk)
		step, reason string
	}{
		"only a filesystem right on a volume": {func(_ *world, _ *host, d *disk) {
			d.FSIs("LVM2_member")
		}, "check", "FILESYSTEM_MISSING"},
		"ext4 and xfs are grown": {func(_ *world, _ *host, d *disk) {
			d.FSIs("btrfs")
		}, "check", "FILESYSTEM_MISSING"},
		"on a partition of it, or elsewhere": {func(_ *world, h *host, _ *disk) {
			h.Mounts["/srv/mariadb"].Mounted = false
		}, "check", "NOT_MOUNTED"},
		"four times in 24 hours": {func(w *world, _ *host, _ *disk) {
			w.Cloud.NoGrowth = "EC2 changes a volume four times in 24 hours"
		}, "grow_volume", "PROVIDER_ERROR"},
	} {
		bubbles(t, name, func(t *testing.T) {
			w, p := lab(t)
			disk := w.Host("db1").DatadirDisk()
			w.Mu.Lock()
			c.plant(w, w.Hosts["db1"], disk)
			w.Mu.Unlock()
			mark := w.Mark()
			j := p.End(p.Ask(growth).ID)
			s, _ := j.Step(c.step)
			if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != c.reason ||
				!strings.Contains(s.Failure.Message, name) || s.Attempts != 1 ||
				s.Failure.Hint.Text == "" {
				t.Errorf("%s\n%+v", states(j), s.Failure)
			}
			if changes := w.Changes(mark); len(changes) > 0 {
				t.Errorf("it changed %v", changes)
			}
		})
	}
}

func TestAVolumeNeverShrinksAndABusyOneWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		_, err := p.Request(t.Context(), workflowtest.Growth{Server: "db1", Bytes: 1 << 30})
		if errs.KindOf(err) != errs.InvalidArgument ||
			!strings.Contains(err.Error(), "never shrinks") {
			t.Errorf("smaller: %v", err)
		}
		p.Stop()
		next := w.Start() // runs nothing: the snapshot stays under way
		next.Ask(snapshotOf{Source: "db1"})
		req, err := next.Request(t.Context(), growth)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := next.Engine.Create(t.Context(), req); errs.ReasonOf(err) !=
			errorsv1.Reason_REASON_JOB_BUSY {
			t.Errorf("while a snapshot is taken: %v", err)
		}
	})
}

// TestAnotherVolumeIsLeftAlone: the job is of the volume that the server had.
func TestAnotherVolumeIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p, _ := withReplica(t)
		w.Mu.Lock()
		w.Cloud.NoGrowth = "not now"
		w.Mu.Unlock()
		j := p.End(p.Ask(workflowtest.Growth{Server: "db2", Bytes: larger}).ID)
		w.Mu.Lock()
		w.Cloud.NoGrowth = ""
		w.Mu.Unlock()
		p.Must(rebuild{Server: "db2"})
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		j = p.End(j.ID)
		s, _ := j.Step("grow_volume")
		if s.Failure == nil || s.Failure.Reason != "NOT_FOUND" ||
			volumeOf(t, w, "db2").SizeBytes == larger {
			t.Errorf("%+v", s)
		}
	})
}
