package workflowtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// CheckReplica asserts the invariants on a READY replica and its surroundings.
func (w *World) CheckReplica(t testing.TB, name string) {
	t.Helper()
	srv := w.Server(name)
	h, primary := w.Host(name), w.Host(srv.Primary)
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if srv.State != inventory.ServerReady {
		t.Errorf("%s is %s: %s", name, srv.State, srv.StateReason)
	}
	if err := srv.Check(nil); err != nil {
		t.Error(err)
	}
	if h.Running == nil || !h.Running.ReadOnly || h.Running.Conf.ServerID != srv.ServerID {
		t.Fatalf("MariaDB on %s: %+v", name, h.Running)
	}
	h.replicate()
	if got, want := h.Running.Disk.Data.Pos(), primary.Running.Disk.Data.Pos(); got != want {
		t.Errorf("%s is at %s, its primary at %s", name, got, want)
	}
	for table, sum := range primary.Running.Disk.Data.Tables {
		if h.Running.Disk.Data.Tables[table] != sum {
			t.Errorf("%s differs", table)
		}
	}
	w.checkCloud(t)
	for _, m := range h.Mounts {
		if v := w.Cloud.Volumes[m.volume]; v == nil || v.MachineID != h.machine.ID || v.Default {
			t.Errorf("a mount of %s refers to volume %s, which is %+v", name, m.volume, v)
		}
	}
	if primary.Hold != nil && primary.Hold.Open() || len(primary.Running.Disk.Data.Reserved) > 0 {
		t.Errorf("the primary is held up: %v", primary.Running.Disk.Data.Reserved)
	}
}

// checkCloud asserts that each thing was made once.
func (w *World) checkCloud(t testing.TB) {
	t.Helper()
	seen := map[string]string{}
	for id, m := range w.Cloud.Machines {
		if m.State == provider.MachineTerminated {
			continue
		}
		if other := seen[m.Name]; other != "" {
			t.Errorf("two machines %s: %s and %s", m.Name, id, other)
		}
		seen[m.Name] = id
	}
	for id, v := range w.Cloud.Volumes {
		if v.MachineID == "" || v.Default {
			t.Errorf("volume %s was left: %+v", id, v)
		}
	}
	bySnapshot := map[string]string{}
	for id, s := range w.Cloud.Snapshots {
		key := s.Tags[kit.TagSnapshot]
		if other := bySnapshot[key]; other != "" {
			t.Errorf("two snapshots for %s: %s and %s", key, id, other)
		}
		bySnapshot[key] = id
	}
}

// Steal takes all jobs from their workers, for an owner that then does nothing.
func (w *World) Steal() {
	err := w.Store.Write(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		held, err := w.Store.Jobs(tx).Holdings(ctx)
		for _, h := range held {
			if _, err := w.Store.Jobs(tx).Claim(ctx, h, "thief"); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		w.T.Error(err)
	}
}

// Lab is a world with a primary that has data.
func Lab(t testing.TB) (*World, *Process) {
	t.Helper()
	w := NewWorld(t)
	p := w.Start().Run()
	p.Must(Primary{Server: "db1"})
	w.Mu.Lock()
	d := w.Hosts["db1"].Running.Disk.Data
	for i := range 20 {
		d.Write(w.Hosts["db1"].Running.Conf.ServerID, "shop.orders", uint64(i))
		d.Write(w.Hosts["db1"].Running.Conf.ServerID, "shop.items", uint64(i))
	}
	w.Mu.Unlock()
	return w, p
}

// CheckMounts holds each mount on record to what the provider has.
func (w *World) CheckMounts(t testing.TB, when string) {
	t.Helper()
	err := w.Store.Read(context.WithoutCancel(t.Context()),
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

func (w *World) machineWith(volume string) string {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if v := w.Cloud.Volumes[volume]; v != nil {
		return v.MachineID
	}
	return ""
}

// At calls fn once, when the step's handler is about to be called (or has returned, or was
// recorded).
func (p *Process) At(point job.Point, step string, fn func()) {
	next, fired := p.hook.Load(), false
	p.OnPoint(func(at job.Point, in string) {
		if next != nil {
			(*next)(at, in)
		}
		if at == point && in == step && !fired {
			fired = true
			p.W.Mu.Lock()
			defer p.W.Mu.Unlock()
			fn()
		}
	})
}

// KillAt kills the process at that point of the step, and closes the channel then.
func (p *Process) KillAt(point job.Point, step string) <-chan struct{} {
	killed := make(chan struct{})
	p.OnPoint(func(at job.Point, in string) {
		if at == point && in == step && !p.Dead.Load() {
			p.Kill()
			close(killed)
		}
	})
	return killed
}

// HangVolume leaves a volume that is being made in that state, for long already.
func (w *World) HangVolume() {
	for id, v := range w.Cloud.Volumes {
		if v.State == provider.VolumeCreating {
			v.CreatedAt = v.CreatedAt.Add(-time.Hour)
			w.Cloud.Settling[id] = 1 << 30
		}
	}
}

// CheckPrimaryUntouched asserts that nothing holds the primary up.
func (w *World) CheckPrimaryUntouched(t testing.TB) {
	t.Helper()
	h := w.Host("db1")
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if h.Running == nil || h.Hold != nil && h.Hold.Open() || len(h.Running.Disk.Data.Reserved) > 0 {
		t.Errorf("the primary is held up: reserved %v", h.Running.Disk.Data.Reserved)
	}
}

// CheckCleanup cleans the job up and asserts that nothing of it is left.
func (w *World) CheckCleanup(t testing.TB, p *Process, id string) {
	t.Helper()
	if _, err := p.Engine.Cleanup(t.Context(), id, job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	if j := p.End(id); !j.Cleaned {
		t.Fatalf("not cleaned up\n%s", States(j))
	}
	w.Mu.Lock()
	defer w.Mu.Unlock()
	for mid, m := range w.Cloud.Machines {
		if m.Name == "db2" && m.State != "terminated" {
			t.Errorf("machine %s is left", mid)
		}
	}
	if len(w.Cloud.Volumes) != 1 || len(w.Cloud.Snapshots) != 0 {
		t.Errorf("left: volumes %v, snapshots %v", w.Cloud.Volumes, w.Cloud.Snapshots)
	}
	if d := w.Hosts["db1"].Running.Disk.Data; len(d.Accounts) > 0 || len(d.Reserved) > 0 {
		t.Errorf("left on the primary: %v %v", d.Accounts, d.Reserved)
	}
}

// CheckOnce expects one machine and volume of each server, and one snapshot, at the provider and on
// record.
func (w *World) CheckOnce(t testing.TB, when string) {
	t.Helper()
	w.Mu.Lock()
	machines := 0
	for _, m := range w.Cloud.Machines {
		if m.State == provider.MachineRunning {
			machines++
		}
	}
	volumes, snapshots := len(w.Cloud.Volumes), len(w.Cloud.Snapshots)
	w.Mu.Unlock()
	if recorded := w.volumesOnRecord(); machines != 2 || volumes != 2 || snapshots != 1 ||
		recorded != 2 {
		t.Errorf("%s there are %d machines, %d volumes, %d snapshots, and %d volumes on record",
			when, machines, volumes, snapshots, recorded)
	}
}

func (w *World) volumesOnRecord() (n int) {
	w.T.Helper()
	err := w.Store.Read(w.T.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Volumes().List(ctx, store.VolumeFilter{}, store.Page{})
		for _, v := range list {
			if v.State != inventory.VolumeDeleted {
				n++
			}
		}
		return err
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return n
}

// Cancelled asks for a job that is cancelled before anything of it is done.
func (w *World) Cancelled(what Asked) job.Job {
	w.T.Helper()
	idle := w.Start()
	j := idle.Ask(what)
	j, err := idle.Engine.Cancel(w.T.Context(), j.ID, job.ChangeRequest{Who: "tester"})
	if err != nil || j.State != job.Cancelled {
		w.T.Fatalf("%s %v", j.State, err)
	}
	return j
}

// Alone runs one step of a job that is at rest.
func (p *Process) Alone(id, step string) job.Step {
	p.W.T.Helper()
	if _, err := p.Engine.RetryStep(p.W.T.Context(), id, step,
		job.ChangeRequest{Who: "tester"}); err != nil {
		p.W.T.Fatal(err)
	}
	j := p.End(id)
	return j.Steps[slices.IndexFunc(j.Steps, func(s job.Step) bool { return s.Kind == step })]
}

// Left is what there is of a server: its machine, its volumes, its account on the primary.
func (w *World) Left(name string) (machines, volumes, accounts int) {
	primary := w.Host("db1")
	w.Mu.Lock()
	defer w.Mu.Unlock()
	for _, m := range w.Cloud.Machines {
		if m.Tags[kit.TagServer] == name && m.State != provider.MachineTerminated {
			machines++
		}
	}
	for _, v := range w.Cloud.Volumes {
		if v.Tags[kit.TagServer] == name {
			volumes++
		}
	}
	return machines, volumes, len(primary.Running.Disk.Data.Accounts)
}

// ChangeNothing runs each step of the jobs alone, those apart that are about the source.
func (p *Process) ChangeNothing(t testing.TB, jobs ...job.Job) {
	t.Helper()
	for _, j := range jobs {
		for _, s := range j.Steps {
			if s.Section != "" || s.Always {
				continue
			}
			mark := p.W.Mark()
			if _, err := p.Engine.RetryStep(t.Context(), j.ID, s.Kind,
				job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			last := p.End(j.ID)
			if changes := p.W.Changes(mark); len(changes) > 0 {
				t.Errorf("%s of %s, alone, changed %v", s.Kind, j.Kind, changes)
			}
			t.Logf("%s of %s: %s", s.Kind, j.Kind, last.Reason)
		}
	}
}

// KeepsBinlogs sees that db1's MariaDB deletes no binary logs by itself, now or after a restart or
// a reservation.
func (w *World) KeepsBinlogs(t testing.TB, when string) {
	t.Helper()
	h := w.Host("db1")
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if h.File.BinlogExpire != 0 || h.Running.Conf.BinlogExpire != 0 {
		t.Errorf("%s: binary logs go after %s, after a restart %s", when,
			h.Running.Conf.BinlogExpire, h.File.BinlogExpire)
	}
}
