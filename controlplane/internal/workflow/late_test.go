package workflow_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const showsWithin = 30 * time.Second

// unseen are answers of a provider that does not find what there is.
func unseen(n int) []error {
	return slices.Repeat([]error{provider.Errorf(provider.ErrNotFound, "", "no such id")}, n)
}

// What a job has on record, or was shown, and the provider does not find, is gone only once it is
// old enough: what is new may show late, to one call and not to another.
func TestWhatIsNewIsNotGone(t *testing.T) {
	t.Parallel()
	for call, after := range map[string]any{"GetMachine": nil, "GetSnapshot": nil,
		"GetVolume": nil, "DeleteVolume": nil, "TerminateMachine": deletion{Server: "db2"},
		"DeleteSnapshot": snapshotDeletion{}} {
		bubbles(t, call, func(t *testing.T) {
			w, p := lab(t)
			w.Mu.Lock()
			w.Cloud.Late = showsWithin
			if call == "GetMachine" { // it is asked for a machine whose agent does not answer
				w.Plant = func(h *host) {
					h.Down = true
					time.AfterFunc(showsWithin/2, func() {
						w.Mu.Lock()
						defer w.Mu.Unlock()
						h.Down = false
					})
				}
			}
			if after == nil {
				p.Fail[call] = unseen(10)
			}
			w.Mu.Unlock()
			made := p.Must(replica{Server: "db2", Source: "db1"})
			if after != nil {
				w.Mu.Lock()
				p.Fail[call] = unseen(10)
				w.Mu.Unlock()
			}
			switch asked := after.(type) {
			case deletion:
				p.Must(asked)
				if machines, volumes, _ := w.Left("db2"); machines+volumes > 0 {
					t.Errorf("%d machines and %d volumes are left", machines, volumes)
				}
			case snapshotDeletion:
				p.Must(deletion{Server: "db2"})
				asked.Snapshot = snapshotIn(t, made)
				p.Must(asked)
				w.Mu.Lock()
				defer w.Mu.Unlock()
				if left := len(w.Cloud.Snapshots); left > 0 {
					t.Errorf("%d snapshots are left", left)
				}
				return
			default:
				w.CheckOnce(t, "late for "+call)
			}
			w.Mu.Lock()
			defer w.Mu.Unlock()
			if left := len(p.Fail[call]); left > 0 {
				t.Errorf("%s was to fail %d times more", call, left)
			}
		})
	}
}

// A snapshot that is gone for longer than it may take to show is gone.
func TestSnapshotThatIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		w.Mu.Lock()
		w.Cloud.Late = showsWithin
		p.Fail["GetSnapshot"] = unseen(1000)
		w.Mu.Unlock()
		began := time.Now()
		ended := p.End(p.Ask(snapshotOf{Source: "db1"}).ID)
		step, _ := ended.Step("await_ready")
		if took := time.Since(began); step.Failure == nil ||
			step.Failure.Reason != "SNAPSHOT_UNUSABLE" || took < showsWithin/2 ||
			took > 3*showsWithin {
			t.Errorf("the step says %+v after %s", step.Failure, took)
		}
	})
}

// A snapshot that was begun under a hold that was lost, and shows only after another was taken in
// its place, is deleted before the job ends.
func TestLostSnapshotThatShowsLateIsDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		w.Cloud.Late, w.Cloud.Blind = showsWithin, true
		p := w.Start()
		killed := p.KillAt(job.AfterEffect, "snapshot")
		p.Run()
		asked := p.Ask(snapshotOf{Source: "db1"})
		<-killed
		succeeded(t, w.Start().Run().End(asked.ID))
		w.Mu.Lock()
		defer w.Mu.Unlock()
		if len(w.Cloud.Snapshots) != 1 {
			t.Errorf("at the cloud there are %v", slices.Collect(maps.Keys(w.Cloud.Snapshots)))
		}
	})
}
