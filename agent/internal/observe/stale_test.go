package observe_test

import (
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/observe"
)

// TestFullObservationsThatKeepFailingAreAFact has a MariaDB whose samples go on: its settings get
// old.
func TestFullObservationsThatKeepFailingAreAFact(t *testing.T) {
	t.Parallel()
	w := &world{active: "active"}
	observed(t, w, 20*time.Second, func(o observe.Observation, s *observe.Sampler) {
		w.refuses.Store(true)
		time.Sleep(45 * time.Second)
		if o, _ := s.Latest(); len(o.Hung) > 0 {
			t.Errorf("told that %+v hang, too early", o.Hung)
		}
		time.Sleep(30 * time.Second)
		o, _ = s.Latest()
		if hang := o.Hung["facts"]; hang.Reason != "no" || !o.Status.Answers ||
			time.Since(hang.Since) < time.Minute {
			t.Errorf("told %+v", o)
		}
		w.refuses.Store(false)
		time.Sleep(15 * time.Second)
		if o, _ := s.Latest(); len(o.Hung) > 0 {
			t.Errorf("told that %+v hang, after it went on", o.Hung)
		}
	})
}

// TestOneThatWasNeverObservedInFullIsNotWell starts MariaDB again while no full observation
// succeeds: those of the run before say nothing of this one.
func TestOneThatWasNeverObservedInFullIsNotWell(t *testing.T) {
	t.Parallel()
	w := &world{active: "active"}
	observed(t, w, 20*time.Second, func(_ observe.Observation, s *observe.Sampler) {
		w.refuses.Store(true)
		w.run.Add(1)
		time.Sleep(30 * time.Second)
		if o, _ := s.Latest(); time.Since(o.At) < 20*time.Second {
			t.Errorf("told of a run whose settings were not read: %+v", o)
		}
		time.Sleep(60 * time.Second)
		o, _ := s.Latest()
		if o.Hung["facts"].Reason != "no" || o.Status.Answers || o.Status.DownReason == "" ||
			time.Since(o.At) > 3*time.Second {
			t.Errorf("told %+v", o)
		}
	})
}

func TestSystemdThatDoesNotAnswerIsAFact(t *testing.T) {
	t.Parallel()
	w := &world{active: "active"}
	observed(t, w, 20*time.Second, func(_ observe.Observation, s *observe.Sampler) {
		w.mute.Store(true)
		full := w.full.Load()
		time.Sleep(70 * time.Second)
		o, _ := s.Latest()
		if o.Hung["unit"].Reason != "no bus" || !o.Status.Answers || len(o.Hung) != 1 {
			t.Errorf("told %+v", o)
		}
		if n := w.full.Load() - full; n > 8 {
			t.Errorf("observed in full %d times in 70 s", n)
		}
	})
}
