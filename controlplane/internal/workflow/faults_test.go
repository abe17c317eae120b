package workflow_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

var replicaArgs = replica{Server: "db2", Source: "db1", Verify: inventory.VerifyFull}

// replicaSteps are the steps of a replica's job.
func replicaSteps(t *testing.T) []string {
	t.Helper()
	p := workflowtest.NewWorld(t).Start()
	plan, _ := p.Engine.Plan(replicate.KindCreateReplica)
	var kinds []string
	for _, s := range plan.Steps {
		kinds = append(kinds, s.Kind)
	}
	return kinds
}

func TestEachStepRetriedAloneAfterSuccessChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		j := p.Must(replicaArgs)
		before := w.Server("db2")
		for _, s := range j.Steps {
			mark := w.Mark()
			if _, err := p.Engine.RetryStep(t.Context(), j.ID, s.Kind,
				job.ChangeRequest{Who: "tester"}); err != nil {
				t.Fatal(err)
			}
			after := succeeded(t, p.End(j.ID))
			changes := w.Changes(mark)
			if s.Kind == "verify" { // it stops the replica at a position and lets it go on
				changes = slices.DeleteFunc(changes,
					func(c string) bool { return strings.HasPrefix(c, "db2:St") })
			}
			if len(changes) > 0 {
				t.Errorf("%s made changes: %v\n%s", s.Kind, changes, states(after))
			}
		}
		after := w.Server("db2")
		after.Rev, after.Updated, after.LastSeen = before.Rev, before.Updated, before.LastSeen
		if after.State != before.State || after.DataVolume != before.DataVolume ||
			len(after.Mounts) != 1 {
			t.Errorf("the record changed: %+v, was %+v", after, before)
		}
		if h := w.Host("db2"); h.Starts != 1 || h.File.SkipReplicaStart {
			t.Errorf("%d starts of MariaDB; settings %+v", h.Starts, h.File)
		}
		w.CheckReplica(t, "db2")
	})
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
			bubbles(t, step+"/"+string(point), func(t *testing.T) {
				w, first := lab(t)
				p := w.Start()
				killed := p.KillAt(point, step)
				first.Stop()
				p.Run()
				j := p.Ask(replicaArgs)
				<-killed
				next := w.Start().Run()
				succeeded(t, next.End(j.ID))
				w.CheckReplica(t, "db2")
				if h := w.Host("db2"); h.StartsOn[h.Running.Disk.UUID] != 1 {
					t.Errorf("MariaDB was started %v", h.StartsOn)
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
		bubbles(t, fmt.Sprintf("cancelled=%v", cancelled), func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			w.Cloud.Late = 3 * time.Second // longer than a take-over takes
			p := w.Start()
			killed := p.KillAt(job.AfterEffect, "snapshot")
			p.Run()
			j := p.Ask(snapshotOf{Source: "db1"})
			<-killed
			next := w.Start()
			if cancelled {
				if _, err := next.Engine.Cancel(t.Context(), j.ID,
					job.ChangeRequest{Who: "tester"}); err != nil {
					t.Fatal(err)
				}
			}
			next.Run()
			left := 0
			if j = next.End(j.ID); j.State == job.Succeeded {
				left = 1
			}
			if cancelled == (j.State == job.Succeeded) {
				t.Error(states(j))
			}
			w.Mu.Lock()
			defer w.Mu.Unlock()
			if len(w.Cloud.Snapshots) != left {
				t.Errorf("%s, and at the cloud there is %v", j.State,
					slices.Collect(maps.Keys(w.Cloud.Snapshots)))
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
		bubbles(t, step, func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			mark, made := 0, make(chan int, 1)
			lose := sync.OnceFunc(func() { w.Steal(); mark = w.Mark() })
			tell := sync.OnceFunc(func() {
				n := 0
				for _, e := range w.Changes(mark) {
					if e == "cloud:"+call {
						n++
					}
				}
				made <- n
			})
			p.OnPoint(func(at job.Point, in string) {
				switch {
				case in != step:
				case at == job.BeforeEffect:
					lose()
				case at == job.AfterEffect:
					tell()
				}
			})
			p.Run()
			j := p.Ask(replicaArgs)
			if n := <-made; n != 0 {
				t.Errorf("the lost worker called %s %d times", call, n)
			}
			succeeded(t, p.End(j.ID))
			w.CheckReplica(t, "db2")
		})
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
		bubbles(t, call, func(t *testing.T) {
			w, p := lab(t)
			w.Mu.Lock()
			p.Lose[call] = 1
			w.Mu.Unlock()
			p.Must(replicaArgs)
			w.CheckReplica(t, "db2")
			if h := w.Host("db2"); h.StartsOn[h.Running.Disk.UUID] != 1 {
				t.Errorf("MariaDB was started %v", h.StartsOn)
			}
		})
	}
}
