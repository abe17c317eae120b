package workflow_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// byHand is the cloud with people behind it: what takes it some looks to settle is what takes them
// some time to do.
type byHand struct{ cloudView }

func (byHand) CutTime() time.Duration { return time.Minute }

func (byHand) Tasks(context.Context, bool) ([]provider.Task, error) { return nil, nil }

func (byHand) CompleteTask(context.Context, string, provider.TaskResult) (provider.Task, error) {
	return provider.Task{}, provider.ErrNotFound
}

func (byHand) RefuseTask(context.Context, string, string) (provider.Task, error) {
	return provider.Task{}, provider.ErrNotFound
}

// view is the cloud as a process sees it.
func (w *world) view(p *process) kit.Provider {
	if w.byHand {
		return byHand{cloudView{w.cloud, p}}
	}
	return cloudView{w.cloud, p}
}

// labByHand is a lab whose control plane was started again with people as its provider.
func labByHand(t *testing.T) (*world, *process) {
	t.Helper()
	w, first := lab(t)
	first.stop()
	w.byHand = true
	return w, w.start()
}

func TestCutByHandWantsTimeForAPerson(t *testing.T) {
	t.Parallel()
	w, p := labByHand(t)
	p.run()
	j := p.end(p.ask(snapshotOf{Source: "db1"}).ID)
	f := j.Steps[0].Failure
	if j.State != job.Failed || f == nil || f.Reason != "ACTION_REQUIRED" ||
		!strings.Contains(f.Hint.String(), "--mode offline --quiesce-limit") {
		t.Fatalf("%s: %+v", states(j), f)
	}
	w.checkPrimaryUntouched(t)
}

func TestCutByHandLastsUntilItIsSaid(t *testing.T) {
	t.Parallel()
	w, p := labByHand(t)
	var early atomic.Bool
	p.hook = func(at job.Point, in string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for id, snap := range w.cloud.snapshots {
			if at == job.BeforeEffect && in == "resume" &&
				(snap.State != provider.SnapshotCompleted && w.cloud.settling[id] >= 0) {
				early.Store(true)
			}
		}
	}
	p.run()
	j := p.must(snapshotOf{Source: "db1", Mode: inventory.ModeOffline,
		QuiesceLimit: 30 * time.Minute})
	if early.Load() {
		t.Error("the hold was released before the copy was complete")
	}
	args := snapshotIn(t, j)
	if err := w.snapshot(args).Usable("db1"); err != nil {
		t.Error(err)
	}
}

func TestCutByHandHasATimeLimitThatIsTold(t *testing.T) {
	t.Parallel()
	w, p := labByHand(t)
	w.mu.Lock()
	w.cloud.slowCut = 1000
	w.mu.Unlock()
	p.run()
	j := p.ask(snapshotOf{Source: "db1", Mode: inventory.ModeOffline,
		QuiesceLimit: 30 * time.Minute})
	updates, err := p.engine.Watch(t.Context(), j.ID)
	if err != nil {
		t.Fatal(err)
	}
	for j = range updates {
		if strings.Contains(j.Reason, "at least 25m0s left: ") {
			break
		}
	}
	w.mu.Lock()
	for id := range w.cloud.settling {
		w.cloud.settling[id] = 0 // the person says that it is done
	}
	w.mu.Unlock()
	succeeded(t, p.end(j.ID))
}

func TestCutByHandThatIsLateIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	w, p := labByHand(t)
	var fine atomic.Bool
	p.hook = func(at job.Point, in string) {
		if at == job.AfterEffect && in == "snapshot" && !fine.Load() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if h := w.hosts["db1"].hold; h != nil {
				h.end("the limit was reached")
			}
		}
	}
	p.run()
	mark := w.mark()
	j := p.end(p.ask(snapshotOf{Source: "db1", Mode: inventory.ModeOffline, QuiesceLimit: time.Minute}).ID)
	if j.State != job.Failed || !strings.Contains(j.Reason, "the quiesce ended") {
		t.Fatalf("%s: %s", states(j), j.Reason)
	}
	asked := 0
	for _, change := range w.changes(mark) {
		if strings.Contains(change, "CreateSnapshot") {
			asked++
		}
	}
	if asked != 1 || len(w.cloud.snapshots) != 0 {
		t.Errorf("a person was asked %d times; left: %v", asked, w.cloud.snapshots)
	}
	w.checkPrimaryUntouched(t)
	fine.Store(true)
	if _, err := p.engine.Retry(t.Context(), j.ID, job.ChangeRequest{Who: "tester"}); err != nil {
		t.Fatal(err)
	}
	succeeded(t, p.end(j.ID))
}
