package workflow_test

import (
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A provider that will not begin a snapshot now lets the source go at once, however often: the
// source is not held while the provider is waited for, and no start of the section is counted.
func TestARefusedSnapshotLetsTheSourceGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const refusals = 6
		w, p := lab(t)
		for range refusals {
			p.Fail["CreateSnapshot"] = append(p.Fail["CreateSnapshot"],
				provider.Throttled(nil, 15*time.Second, "too soon"))
		}
		holds, refused := 0, 0
		p.OnPoint(func(at job.Point, step string) {
			w.Mu.Lock()
			defer w.Mu.Unlock()
			switch {
			case step != "snapshot" || at == job.AfterCommit:
			case at == job.BeforeEffect:
				holds++
			case len(w.Cloud.Snapshots) == 0:
				refused++
				if w.Hosts["db1"].Hold.Open() {
					t.Error("the source is held although the provider refused")
				}
			}
		})
		began := time.Now()
		j := succeeded(t, p.Must(snapshotOf{Source: "db1"}))
		if holds != refusals+1 || refused != refusals {
			t.Errorf("%d holds, %d refused", holds, refused)
		}
		if took := time.Since(began); took < refusals*15*time.Second {
			t.Errorf("asked again too soon: all of it took %s", took)
		}
		if snap := w.Snapshot(snapshotIn(t, j)); snap.Quiesce.Blocked > time.Second {
			t.Errorf("writes were blocked for %s", snap.Quiesce.Blocked)
		}
	})
}

// When the last snapshot of the volume was asked for is on record: the next hold waits for it, in
// this job, in the next one, and in another process.
func TestTheSourceIsHeldOnceThereIsRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := lab(t)
		w.Cloud.Pace = 15 * time.Second
		broken := 0
		p.OnPoint(func(at job.Point, step string) {
			w.Mu.Lock()
			defer w.Mu.Unlock()
			if step == "snapshot" && at == job.AfterEffect && broken < 2 {
				broken++
				w.Hosts["db1"].Hold.End("the limit was reached")
			}
		})
		succeeded(t, p.Must(snapshotOf{Source: "db1"}))
		succeeded(t, p.Must(snapshotOf{Source: "db1"}))
		if broken != 2 || w.Cloud.Refused > 0 {
			t.Errorf("%d holds broken, %d requests refused", broken, w.Cloud.Refused)
		}
	})
}
