package workflow_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

var offlineSnapshot = snapshotOf{Source: "db1", Mode: inventory.ModeOffline,
	QuiesceLimit: 30 * time.Minute}

// told is all that the job's steps say.
func told(j job.Job) string {
	var all []string
	for _, s := range j.Steps {
		all = append(append(append(all, s.Found...), s.Changed...), s.Reason)
	}
	return strings.Join(all, "\n")
}

// sameQuiesce expects that the job took one snapshot, under the point that it had first.
func sameQuiesce(t *testing.T, w *world, j job.Job) {
	t.Helper()
	succeeded(t, j)
	s, _ := j.Step("quiesce")
	if s.Generation != 1 || len(w.Cloud.Snapshots) != 1 {
		t.Errorf("quiesce is of generation %d, and there are %d snapshots\n%s", s.Generation,
			len(w.Cloud.Snapshots), told(j))
	}
	if snap := w.Snapshot(snapshotIn(t, j)); snap.Usable("db1") != nil || snap.History == "" {
		t.Errorf("%+v", snap)
	}
	if h := w.Host("db1"); h.Hold.Open() {
		t.Error("the primary is held up")
	}
}

// The agent dies, and is back at once: the job goes on at the same point, and says so.
func TestAnOfflineQuiesceIsAdoptedFromTheNextAgent(t *testing.T) {
	t.Parallel()
	for _, at := range []struct {
		point job.Point
		step  string
	}{{job.AfterCommit, "quiesce"}, {job.AfterEffect, "snapshot"}, {job.AfterCommit, "snapshot"}} {
		bubbles(t, at.step+"/"+string(at.point), func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			p.At(at.point, at.step, func() { w.Hosts["db1"].Hold.Cut() })
			p.Run()
			j := p.End(p.Ask(offlineSnapshot).ID)
			sameQuiesce(t, w, j)
			if said := told(j); !strings.Contains(said, "the stream broke") ||
				!strings.Contains(said, "it goes on at the same point") {
				t.Errorf("it says nothing of it:\n%s", said)
			}
		})
	}
}

// The proof is lost on its way, with the agent: the next one has it.
func TestTheProofOfAnOfflineQuiesceIsHadAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		p := w.Start()
		p.At(job.AfterCommit, "snapshot", func() {
			h := w.Hosts["db1"]
			h.Resuming = h.Hold.Cut
		})
		p.Run()
		sameQuiesce(t, w, p.End(p.Ask(offlineSnapshot).ID))
	})
}

// An agent that is away is waited for, as long as the host may hold MariaDB.
func TestAnOfflineQuiesceWaitsForItsAgent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		p := w.Start()
		p.At(job.AfterCommit, "quiesce", func() {
			w.Hosts["db1"].Hold.Cut()
			w.Hosts["db1"].Down = true
		})
		p.Run()
		j := p.Ask(offlineSnapshot)
		updates, err := p.Engine.Watch(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		for j = range updates {
			if strings.Contains(j.Reason, "waiting to go on with the quiesce of db1") &&
				strings.Contains(j.Reason, "at least 25m0s left") {
				break
			}
		}
		w.Mu.Lock()
		w.Hosts["db1"].Down = false
		w.Mu.Unlock()
		sameQuiesce(t, w, p.End(j.ID))
	})
}

// Whenever a control plane dies after it recorded the point, the next one goes on with it.
func TestAnOfflineQuiesceIsAdoptedByTheNextControlPlane(t *testing.T) {
	t.Parallel()
	for _, at := range []struct {
		point job.Point
		step  string
	}{{job.AfterCommit, "quiesce"}, {job.BeforeEffect, "snapshot"}, {job.AfterEffect, "snapshot"},
		{job.AfterCommit, "snapshot"}, {job.AfterEffect, "resume"}} {
		bubbles(t, at.step+"/"+string(at.point), func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			killed := p.KillAt(at.point, at.step)
			p.Run()
			j := p.Ask(offlineSnapshot)
			<-killed
			sameQuiesce(t, w, w.Start().Run().End(j.ID))
		})
	}
}

// So it is with one that is stopped in good order, as for an upgrade.
func TestAnOfflineQuiesceOutlivesAStopOfTheControlPlane(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"snapshot", "resume"} {
		bubbles(t, at, func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			reached := make(chan struct{})
			stopped := make(chan struct{})
			p.OnPoint(func(point job.Point, step string) {
				if point == job.BeforeEffect && step == at {
					close(reached)
					<-stopped
				}
			})
			p.Run()
			j := p.Ask(offlineSnapshot)
			<-reached
			go func() {
				synctest.Wait() // the stop waits for the step
				close(stopped)
			}()
			p.Stop()
			if h := w.Host("db1"); !h.Hold.Open() && at == "snapshot" {
				t.Error("the stop ended the quiesce")
			}
			sameQuiesce(t, w, w.Start().Run().End(j.ID))
		})
	}
}

// One that dies before it recorded the point leaves a quiesce that nobody can prove anything of:
// the next one ends it, and quiesces again.
func TestAnOfflineQuiesceOfNoRecordIsEnded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, first := lab(t)
		first.Stop()
		p := w.Start()
		killed := p.KillAt(job.AfterEffect, "quiesce")
		p.Run()
		j := p.Ask(offlineSnapshot)
		<-killed
		done := succeeded(t, w.Start().Run().End(j.ID))
		if said := told(done); !strings.Contains(said,
			"the quiesce of db1 is over: its job ended it") {
			t.Error(said)
		}
	})
}

// A quiesce that was lost is told with its cause, and begun again.
func TestAnOfflineQuiesceThatWasLostSaysWhy(t *testing.T) {
	t.Parallel()
	for cause, lose := range map[string]func(h *host){
		"the process was killed": func(h *host) {
			h.Hold.Cut()
			h.Hold.End("the process was killed")
		},
		"the host has no trace of it": func(h *host) {
			h.Hold.Cut()
			h.Hold.End("")
			h.NoTrace = true
		},
	} {
		bubbles(t, cause, func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			p.At(job.AfterCommit, "quiesce", func() { lose(w.Hosts["db1"]) })
			p.Run()
			j := succeeded(t, p.End(p.Ask(offlineSnapshot).ID))
			s, _ := j.Step("quiesce")
			if said := told(j); s.Generation != 2 || !strings.Contains(said, cause) ||
				strings.Contains(said, "goes on at the same point") {
				t.Errorf("generation %d:\n%s", s.Generation, said)
			}
		})
	}
}

// A job that ends lets go of what its agent lost, and says that the source was resumed only where
// the host says so.
func TestAnEndedJobLetsGoOfAnOfflineQuiesce(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]bool{"agent there": false, "agent away": true} {
		bubbles(t, name, func(t *testing.T) {
			w, first := lab(t)
			first.Stop()
			p := w.Start()
			reached, goOn := make(chan struct{}), make(chan struct{})
			p.OnPoint(func(at job.Point, step string) {
				if at == job.BeforeEffect && step == "snapshot" {
					close(reached)
					<-goOn
				}
			})
			p.Run()
			j := p.Ask(offlineSnapshot)
			<-reached
			h := w.Host("db1")
			h.Hold.Cut()
			w.Mu.Lock()
			h.Down = away
			w.Mu.Unlock()
			if _, err := p.Engine.Cancel(t.Context(), j.ID, asTester); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			if !away {
				if j = p.End(j.ID); j.State != job.Cancelled || h.Hold.Open() ||
					!strings.Contains(told(j), "its job ended it") {
					t.Errorf("%s\n%s", states(j), told(j))
				}
				w.CheckPrimaryUntouched(t)
				return
			}
			if j = p.End(j.ID); strings.Contains(told(j), "db1 was resumed") {
				t.Errorf("it says so of a host that is away:\n%s", told(j))
			}
			w.Mu.Lock()
			h.Down = false
			w.Mu.Unlock()
		})
	}
}

// Where an operator copies, the death of an agent costs neither the copy nor a question.
func TestACopyByHandOutlivesAnAgent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, p := labByHand(t)
		w.Mu.Lock()
		w.Cloud.SlowCut = 100
		w.Mu.Unlock()
		cuts := 0
		p.OnPoint(func(at job.Point, step string) {
			if at == job.AfterEffect && step == "snapshot" && cuts < 3 {
				cuts++
				w.Host("db1").Hold.Cut()
			}
		})
		p.Run()
		mark := w.Mark()
		sameQuiesce(t, w, p.End(p.Ask(offlineSnapshot).ID))
		asked := strings.Count(strings.Join(w.Changes(mark), " "), "CreateSnapshot")
		if asked != 1 || cuts != 3 {
			t.Errorf("the operator was asked %d times, over %d deaths", asked, cuts)
		}
	})
}
