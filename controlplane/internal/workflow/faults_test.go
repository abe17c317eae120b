package workflow_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

var replicaArgs = replica{Server: "db2", Source: "db1", Verify: inventory.VerifyFull}

// replicaSteps are the steps of a replica's job.
func replicaSteps(t *testing.T) []string {
	t.Helper()
	p := newWorld(t).start()
	plan, _ := p.engine.Plan(replicate.KindCreateReplica)
	var kinds []string
	for _, s := range plan.Steps {
		kinds = append(kinds, s.Kind)
	}
	return kinds
}

func TestEachStepRetriedAloneAfterSuccessChangesNothing(t *testing.T) {
	t.Parallel()
	w, p := lab(t)
	j := p.must(replicaArgs)
	before := w.server("db2")
	for _, s := range j.Steps {
		mark := w.mark()
		if _, err := p.engine.RetryStep(t.Context(), j.ID, s.Kind,
			job.ChangeRequest{Who: "tester"}); err != nil {
			t.Fatal(err)
		}
		after := succeeded(t, p.end(j.ID))
		changes := w.changes(mark)
		if s.Kind == "verify" { // it stops the replica at a position and lets it go on
			changes = slices.DeleteFunc(changes,
				func(c string) bool { return strings.HasPrefix(c, "db2:St") })
		}
		if len(changes) > 0 {
			t.Errorf("%s made changes: %v\n%s", s.Kind, changes, states(after))
		}
	}
	after := w.server("db2")
	after.Rev, after.Updated, after.LastSeen = before.Rev, before.Updated, before.LastSeen
	if after.State != before.State || after.DataVolume != before.DataVolume ||
		len(after.Mounts) != 1 {
		t.Errorf("the record changed: %+v, was %+v", after, before)
	}
	if h := w.host("db2"); h.starts != 1 || h.file.SkipReplicaStart {
		t.Errorf("%d starts of MariaDB; settings %+v", h.starts, h.file)
	}
	w.checkReplica(t, "db2")
}

// checkReplica asserts the invariants on a READY replica and its surroundings.
func (w *world) checkReplica(t *testing.T, name string) {
	t.Helper()
	srv := w.server(name)
	h, primary := w.host(name), w.host(srv.Primary)
	w.mu.Lock()
	defer w.mu.Unlock()
	if srv.State != inventory.ServerReady {
		t.Errorf("%s is %s: %s", name, srv.State, srv.StateReason)
	}
	if err := srv.Check(nil); err != nil {
		t.Error(err)
	}
	if h.running == nil || !h.running.readOnly || h.running.conf.ServerID != srv.ServerID {
		t.Fatalf("MariaDB on %s: %+v", name, h.running)
	}
	h.replicate()
	if got, want := h.running.disk.data.pos(), primary.running.disk.data.pos(); got != want {
		t.Errorf("%s is at %s, its primary at %s", name, got, want)
	}
	for table, sum := range primary.running.disk.data.tables {
		if h.running.disk.data.tables[table] != sum {
			t.Errorf("%s differs", table)
		}
	}
	w.checkCloud(t)
	for _, m := range h.mounts {
		if v := w.cloud.volumes[m.volume]; v == nil || v.MachineID != h.machine.ID || v.Default {
			t.Errorf("a mount of %s refers to volume %s, which is %+v", name, m.volume, v)
		}
	}
	if primary.hold != nil && primary.hold.open() || len(primary.running.disk.data.reserved) > 0 {
		t.Errorf("the primary is held up: %v", primary.running.disk.data.reserved)
	}
}

// checkCloud asserts that each thing was made once.
func (w *world) checkCloud(t *testing.T) {
	t.Helper()
	seen := map[string]string{}
	for id, m := range w.cloud.machines {
		if m.State == provider.MachineTerminated {
			continue
		}
		if other := seen[m.Name]; other != "" {
			t.Errorf("two machines %s: %s and %s", m.Name, id, other)
		}
		seen[m.Name] = id
	}
	for id, v := range w.cloud.volumes {
		if v.MachineID == "" || v.Default {
			t.Errorf("volume %s was left: %+v", id, v)
		}
	}
	bySnapshot := map[string]string{}
	for id, s := range w.cloud.snapshots {
		key := s.Tags[kit.TagSnapshot]
		if other := bySnapshot[key]; other != "" {
			t.Errorf("two snapshots for %s: %s and %s", key, id, other)
		}
		bySnapshot[key] = id
	}
}

func TestKilledInEachStepTheJobGoesOn(t *testing.T) {
	t.Parallel()
	for _, step := range replicaSteps(t) {
		// after a commit is before the next step
		points := []job.Point{job.BeforeEffect, job.AfterEffect}
		if step == "settle" {
			points = append(points, job.AfterCommit)
		}
		for _, point := range points {
			t.Run(step+"/"+string(point), func(t *testing.T) {
				t.Parallel()
				w, first := lab(t)
				p := w.start()
				killed := make(chan struct{})
				p.hook = func(at job.Point, in string) {
					if at == point && in == step && !p.dead.Load() {
						p.kill()
						close(killed)
					}
				}
				first.stop()
				p.run()
				j := p.ask(replicaArgs)
				<-killed
				next := w.start().run()
				succeeded(t, next.end(j.ID))
				w.checkReplica(t, "db2")
				if h := w.host("db2"); h.startsOn[h.running.disk.uuid] != 1 {
					t.Errorf("MariaDB was started %v", h.startsOn)
				}
			})
		}
	}
}

// TestCutThatShowsLateIsDeletedByWhoTakesOver: a worker dies behind the cut, and another one that
// serves for long already cannot see yet what it made.
func TestCutThatShowsLateIsDeletedByWhoTakesOver(t *testing.T) {
	t.Parallel()
	for _, cancelled := range []bool{false, true} {
		t.Run(fmt.Sprintf("cancelled=%v", cancelled), func(t *testing.T) {
			t.Parallel()
			w, first := lab(t)
			first.stop()
			w.cloud.late = 3 * time.Second // longer than a take-over takes
			p := w.start()
			killed := make(chan struct{})
			p.hook = func(at job.Point, in string) {
				if at == job.AfterEffect && in == "snapshot" {
					p.kill()
					close(killed)
				}
			}
			p.run()
			j := p.ask(snapshotOf{Source: "db1"})
			<-killed
			next := w.start()
			if cancelled {
				if _, err := next.engine.Cancel(t.Context(), j.ID,
					job.ChangeRequest{Who: "tester"}); err != nil {
					t.Fatal(err)
				}
			}
			next.run()
			left := 0
			if j = next.end(j.ID); j.State == job.Succeeded {
				left = 1
			}
			if cancelled == (j.State == job.Succeeded) {
				t.Error(states(j))
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.cloud.snapshots) != left {
				t.Errorf("%s, and at the cloud there is %v", j.State,
					slices.Collect(maps.Keys(w.cloud.snapshots)))
			}
		})
	}
}

// TestLostWorkerMakesNothing: a worker that does not know yet that its job was taken over makes
// nothing at the cloud.
func TestLostWorkerMakesNothing(t *testing.T) {
	t.Parallel()
	for step, call := range map[string]string{"snapshot": "CreateSnapshot",
		"create_machine": "CreateMachine", "swap_volume": "CreateVolume"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w, first := lab(t)
			first.stop()
			p := w.start()
			mark, made := 0, make(chan int, 1)
			lose := sync.OnceFunc(func() { w.steal(); mark = w.mark() })
			tell := sync.OnceFunc(func() {
				n := 0
				for _, e := range w.changes(mark) {
					if e == "cloud:"+call {
						n++
					}
				}
				made <- n
			})
			p.hook = func(at job.Point, in string) {
				switch {
				case in != step:
				case at == job.BeforeEffect:
					lose()
				case at == job.AfterEffect:
					tell()
				}
			}
			p.run()
			j := p.ask(replicaArgs)
			if n := <-made; n != 0 {
				t.Errorf("the lost worker called %s %d times", call, n)
			}
			succeeded(t, p.end(j.ID))
			w.checkReplica(t, "db2")
		})
	}
}

// steal takes all jobs from their workers, for an owner that then does nothing.
func (w *world) steal() {
	err := w.store.Write(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		held, err := w.store.Jobs(tx).Holdings(ctx)
		for _, h := range held {
			if _, err := w.store.Jobs(tx).Claim(ctx, h, "thief"); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

func TestLostAnswersCostNothing(t *testing.T) {
	t.Parallel()
	calls := []string{"CreateSnapshot", "CreateMachine", "CreateVolume", "AttachVolume",
		"DetachVolume", "DeleteVolume", "SetTags", "EnsureMount",
		"EnsureBindMount", "EnsureUnmounted", "MaskUnit", "EnsureUnit", "SetConfiguration",
		"PrepareDatadir", "PrepareReplica", "ConfigureReplica",
		"EnsureReplicationAccount", "StartReplication", "StartUntil", "StopReplication",
		"ReserveBinlogs", "ReleaseBinlogs", "SetBinlogExpiry", "OpenHold"}
	for _, call := range calls {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			w, p := lab(t)
			w.mu.Lock()
			p.lose[call] = 1
			w.mu.Unlock()
			p.must(replicaArgs)
			w.checkReplica(t, "db2")
			if h := w.host("db2"); h.startsOn[h.running.disk.uuid] != 1 {
				t.Errorf("MariaDB was started %v", h.startsOn)
			}
		})
	}
}
