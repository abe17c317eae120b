package workflow_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// labByHand is a lab whose control plane was started again with people as its provider.
func labByHand(t *testing.T) (*world, *process) {
	t.Helper()
	w, first := lab(t)
	first.Stop()
	w.ByHand = true
	return w, w.Start()
}

func TestCutByHandWantsTimeForAPerson(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := labByHand(t)
		p.Run()
		j := p.End(p.Ask(snapshotOf{Source: "db1"}).ID)
		f := j.Steps[0].Failure
		if j.State != job.Failed || f == nil || f.Reason != "ACTION_REQUIRED" ||
			!strings.Contains(f.Hint.String(), "mode=MODE_OFFLINE quiesce_limit=") {
			t.Fatalf("%s: %+v", states(j), f)
		}
		w.CheckPrimaryUntouched(t)
	})
}

func TestCutByHandLastsUntilItIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := labByHand(t)
		var early atomic.Bool
		p.OnPoint(func(at job.Point, in string) {
			w.Mu.Lock()
			defer w.Mu.Unlock()
			for id, snap := range w.Cloud.Snapshots {
				if at == job.BeforeEffect && in == "resume" &&
					(snap.State != provider.SnapshotCompleted && w.Cloud.Settling[id] >= 0) {
					early.Store(true)
				}
			}
		})
		p.Run()
		j := p.Must(snapshotOf{Source: "db1", Mode: inventory.ModeOffline,
			QuiesceLimit: 30 * time.Minute})
		if early.Load() {
			t.Error("the hold was released before the copy was complete")
		}
		args := snapshotIn(t, j)
		if err := w.Snapshot(args).Usable("db1"); err != nil {
			t.Error(err)
		}
	})
}

func TestCutByHandHasATimeLimitThatIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := labByHand(t)
		w.Mu.Lock()
		w.Cloud.SlowCut = 1000
		w.Mu.Unlock()
		p.Run()
		j := p.Ask(snapshotOf{Source: "db1", Mode: inventory.ModeOffline,
			QuiesceLimit: 30 * time.Minute})
		updates, err := p.Engine.Watch(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		for j = range updates {
			if strings.Contains(j.Reason, "at least 25m0s left: ") {
				break
			}
		}
		w.Mu.Lock()
		for id := range w.Cloud.Settling {
			w.Cloud.Settling[id] = 0 // the person says that it is done
		}
		w.Mu.Unlock()
		succeeded(t, p.End(j.ID))
	})
}

func TestCutByHandThatIsLateIsNotAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := labByHand(t)
		var fine atomic.Bool
		p.OnPoint(func(at job.Point, in string) {
			if at == job.AfterEffect && in == "snapshot" && !fine.Load() {
				w.Mu.Lock()
				defer w.Mu.Unlock()
				if h := w.Hosts["db1"].Hold; h != nil {
					h.End("the limit was reached")
				}
			}
		})
		p.Run()
		mark := w.Mark()
		j := p.End(p.Ask(snapshotOf{Source: "db1", Mode: inventory.ModeOffline,
			QuiesceLimit: time.Minute}).ID)
		if j.State != job.ActionRequired || !strings.Contains(j.Reason, "the quiesce ended") {
			t.Fatalf("%s: %s", states(j), j.Reason)
		}
		asked := 0
		for _, change := range w.Changes(mark) {
			if strings.Contains(change, "CreateSnapshot") {
				asked++
			}
		}
		if asked != 1 || len(w.Cloud.Snapshots) != 0 {
			t.Errorf("a person was asked %d times; left: %v", asked, w.Cloud.Snapshots)
		}
		if h := w.Host("db1"); h.Running == nil || h.Hold != nil && h.Hold.Open() {
			t.Error("the primary is held up while the operator decides")
		}
		fine.Store(true)
		if _, err := p.Engine.Retry(t.Context(), j.ID, asTester); err != nil {
			t.Fatal(err)
		}
		succeeded(t, p.End(j.ID))
	})
}

// TestRebuiltByHand: a new snapshot wants more time than a quiesce has, and is refused before READY
// is taken back; one that was taken offline does.
func TestRebuiltByHand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Must(replicaArgs)
		old := volumeOf(t, w, "db2")
		first.Stop()
		w.ByHand = true
		p := w.Start().Run()
		_, err := p.Flow.DryRun(t.Context(), kit.Request{Args: rebuild{Server: "db2"}.Args()})
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_ACTION_REQUIRED {
			t.Errorf("%v", err)
		}
		if srv := w.Server("db2"); srv.State != inventory.ServerReady {
			t.Errorf("db2 is %s", srv.State)
		}
		taken := snapshotIn(t, p.Must(snapshotOf{Source: "db1", Mode: inventory.ModeOffline,
			QuiesceLimit: 30 * time.Minute}))
		p.Must(rebuild{Server: "db2", Snapshot: taken})
		checkGone(t, w, old)
		if srv := w.Server("db2"); srv.State != inventory.ServerReady {
			t.Errorf("db2 is %s", srv.State)
		}
	})
}
