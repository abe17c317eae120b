package observe_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/marks"
	"github.com/understudy-db/understudy/agent/internal/observe"
	"github.com/understudy-db/understudy/agent/internal/systemd"
)

// world is a host whose parts answer, or hang.
type world struct {
	watch         *observe.Watch
	full, sampled atomic.Int32
	read          atomic.Int32
	active        string
	refuses       atomic.Bool // full observations fail
	starts        atomic.Bool // full observations come before it answers
	run           atomic.Int32
	held          atomic.Bool
	mute          atomic.Bool // systemd does not answer
	unresumed     error       // why MariaDB has not resumed
	marks         marks.Record
	unrenewed     error // why the agent's certificate was not renewed
	boots         bool  // systemd starts the host
	hangs         bool  // MariaDB answers when hang is closed
	threadsHang   bool  // the same of SHOW ALL SLAVES STATUS, and threads
	hang, threads chan struct{}
}

func (w *world) config(datadir string) observe.Config {
	return observe.Config{
		Unresumed: func() (time.Time, error) { return time.Now(), w.unresumed },
		Unrenewed: func() (time.Time, error) { return time.Now(), w.unrenewed },
		Hanging:   func() (string, time.Time) { return "", time.Time{} },
		Status: func(context.Context) (mariadb.Status, error) {
			if w.full.Add(1); w.refuses.Load() {
				return mariadb.Status{}, errors.New("no")
			}
			status := mariadb.Status{Answers: !w.starts.Load(), Datadir: datadir,
				Quiesced: w.held.Load()}
			status.Live.LogBin = !status.Quiesced
			w.watch.Observed(status, 0)
			return status, nil
		},
		Sample: func(_ context.Context, last mariadb.Status) mariadb.Status {
			w.sampled.Add(1)
			<-w.hang
			last.Answers = true
			return last
		},
		Connections: func(context.Context) ([]mariadb.Replication, error) {
			<-w.threads
			return []mariadb.Replication{{SQLRunning: "Yes"}}, nil
		},
		Unit: func(context.Context) (systemd.Unit, error) {
			if w.mute.Load() {
				return systemd.Unit{}, errors.New("no bus")
			}
			return systemd.Unit{Name: mariadb.Unit, Active: w.active,
				InvocationID: strconv.Itoa(int(w.run.Load()))}, nil
		},
		Starting: func(context.Context) bool { return w.boots },
		Errors: func(context.Context, systemd.Unit) []string {
			w.read.Add(1)
			return []string{"[ERROR] InnoDB: no"}
		},
		Marks:    func(marks.Sample) marks.Record { return w.marks },
		Quiesced: w.held.Load, PausedBy: func() string { return "jobs/1" },
		Datadir: datadir,
	}
}

// observed runs a sampler for a while and gives its latest observation.
func observed(t *testing.T, w *world, while time.Duration,
	then func(observe.Observation, *observe.Sampler)) {
	t.Helper()
	datadir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w.watch, w.hang, w.threads = observe.New(), make(chan struct{}), make(chan struct{})
		if !w.hangs {
			close(w.hang)
		}
		if !w.threadsHang {
			close(w.threads)
		}
		s := observe.NewSampler(w.config(datadir), w.watch)
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		time.Sleep(while)
		latest, _ := s.Latest()
		then(latest, s)
		cancel()
		synctest.Wait()
	})
}

func TestASampleASecondAndAFullObservationInTen(t *testing.T) {
	t.Parallel()
	w := &world{active: "active"}
	observed(t, w, 30*time.Second+time.Millisecond, func(o observe.Observation,
		_ *observe.Sampler) {
		if n := w.sampled.Load(); n < 29 || n > 32 {
			t.Errorf("%d samples in 30 s", n)
		}
		if n := w.full.Load(); n < 2 || n > 4 {
			t.Errorf("%d full observations in 30 s", n)
		}
		if !o.Status.Answers || len(o.Status.Live.Replication) != 1 || len(o.Hung) > 0 ||
			o.PausedBy != "jobs/1" || o.Volume.Mount == "" || o.Volume.WriteError != "" ||
			o.Volume.FreeBytes == 0 {
			t.Errorf("observed %+v", o)
		}
		if w.read.Load() != 0 {
			t.Error("the log of a MariaDB that answers was read")
		}
		if err := w.watch.Fresh(2 * time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestAMariaDBThatHasNotResumedIsToldAtOnce(t *testing.T) {
	t.Parallel()
	w := &world{active: "active", unresumed: errors.New("no bus")}
	observed(t, w, time.Millisecond, func(o observe.Observation, _ *observe.Sampler) {
		if o.Hung["resume"].Reason != "no bus" || o.Hung["resume"].Since.IsZero() {
			t.Errorf("told: %+v", o.Hung)
		}
	})
}

func TestACertificateThatIsNotRenewedIsTold(t *testing.T) {
	t.Parallel()
	w := &world{active: "active", unrenewed: errors.New("no route")}
	observed(t, w, time.Millisecond, func(o observe.Observation, _ *observe.Sampler) {
		if o.Hung["certificate"].Reason != "no route" {
			t.Errorf("told: %+v", o.Hung)
		}
	})
}

// TestMarksThatCannotBeNotedAreTold has a replica, for on a primary nothing is to be noted.
func TestMarksThatCannotBeNotedAreTold(t *testing.T) {
	t.Parallel()
	w := &world{active: "active", marks: marks.Record{Unread: "no journal",
		UnreadSince: time.Now()}}
	observed(t, w, time.Millisecond, func(o observe.Observation, _ *observe.Sampler) {
		if o.Hung["marks"].Reason != "no journal" || o.Hung["marks"].Since.IsZero() {
			t.Errorf("told: %+v", o.Hung)
		}
	})
}

// TestAHostStarts says so for as long as MariaDB waits.
func TestAHostStarts(t *testing.T) {
	t.Parallel()
	for active, starting := range map[string]bool{"inactive": true, "failed": true,
		"activating": false, "active": false} {
		observed(t, &world{active: active, boots: true}, 2*time.Second,
			func(o observe.Observation, _ *observe.Sampler) {
				if o.Starting != starting {
					t.Errorf("%s: %t", active, o.Starting)
				}
			})
	}
}

func TestOneThatDoesNotRunIsNotConnectedTo(t *testing.T) {
	t.Parallel()
	w := &world{active: "failed"}
	observed(t, w, 30*time.Second, func(o observe.Observation, _ *observe.Sampler) {
		if w.sampled.Load()+w.full.Load() != 0 {
			t.Error("a connection would start it, through its socket unit")
		}
		if o.Status.Answers || len(o.Errors) != 1 || o.Volume.Mount == "" || o.Starting {
			t.Errorf("observed %+v", o)
		}
		if n := w.read.Load(); n < 2 || n > 4 {
			t.Errorf("its log was read %d times in 30 s", n)
		}
	})
}

func TestWhatHangsIsAFactAndIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	w := &world{active: "active", hangs: true}
	observed(t, w, 20*time.Second, func(o observe.Observation, s *observe.Sampler) {
		since := o.Hung["mariadb"].Since
		if since.IsZero() || time.Since(since) < 15*time.Second || w.sampled.Load() != 1 {
			t.Errorf("hung since %s, asked %d times", since, w.sampled.Load())
		}
		if o.Volume.Mount == "" || o.Unit.Active != "active" || time.Since(o.At) > 3*time.Second {
			t.Errorf("one part that hangs hides others: %+v", o)
		}
		close(w.hang)
		time.Sleep(3 * time.Second)
		if o, _ := s.Latest(); len(o.Hung) > 0 || !o.Status.Answers {
			t.Errorf("observed %+v after it went on", o)
		}
	})
}

// A STOP SLAVE that waits for an event in flight keeps MariaDB from telling its threads, no more.
func TestThreadsThatAreNotToldAreNoDeadMariaDB(t *testing.T) {
	t.Parallel()
	w := &world{active: "active", threadsHang: true}
	observed(t, w, 20*time.Second, func(o observe.Observation, _ *observe.Sampler) {
		if !o.Status.Answers || o.Hung["replication"].Since.IsZero() || w.sampled.Load() < 5 {
			t.Errorf("observed %+v, asked %d times", o, w.sampled.Load())
		}
		close(w.threads)
	})
}

// TestNothingIsToldBeforeTheFirstFullObservation restarts an agent beside a MariaDB that answers:
// settings that were not read would count as right.
func TestNothingIsToldBeforeTheFirstFullObservation(t *testing.T) {
	t.Parallel()
	w := &world{active: "active"}
	w.refuses.Store(true)
	observed(t, w, 20*time.Second, func(o observe.Observation, s *observe.Sampler) {
		if !o.At.IsZero() || w.sampled.Load() == 0 {
			t.Errorf("told %+v after %d samples", o, w.sampled.Load())
		}
		w.refuses.Store(false)
		time.Sleep(2 * time.Second)
		if o, _ := s.Latest(); !o.Status.Answers || o.Status.Datadir == "" {
			t.Errorf("told %+v", o)
		}
	})
}

// TestEachRunOfMariaDBIsObservedInFull starts it again, perhaps with other settings, while the
// latest full observation found it not to answer yet.
func TestEachRunOfMariaDBIsObservedInFull(t *testing.T) {
	t.Parallel()
	w := &world{active: "active"}
	w.starts.Store(true)
	observed(t, w, 5*time.Second+time.Millisecond, func(o observe.Observation,
		s *observe.Sampler) {
		if o.Status.Answers {
			t.Errorf("told of one whose settings were not read: %+v", o.Status)
		}
		w.starts.Store(false)
		time.Sleep(time.Second)
		before := w.full.Load()
		if o, _ := s.Latest(); !o.Status.Answers {
			t.Errorf("told %+v", o.Status)
		}
		w.run.Add(1)
		time.Sleep(2 * time.Second)
		if n := w.full.Load() - before; n != 1 {
			t.Errorf("observed in full %d times after another start", n)
		}
	})
}

// TestAHeldMariaDBIsObservedInFullOnceItIsNot has a full observation while MariaDB is held, which
// cannot ask for all.
func TestAHeldMariaDBIsObservedInFullOnceItIsNot(t *testing.T) {
	t.Parallel()
	w := &world{active: "active"}
	w.held.Store(true)
	observed(t, w, 12*time.Second+time.Millisecond, func(o observe.Observation,
		s *observe.Sampler) {
		w.held.Store(false)
		for range 3 {
			_, next := s.Latest()
			<-next
			if o, _ := s.Latest(); !o.Status.Live.LogBin {
				t.Errorf("told %+v, of which half was not asked", o.Status)
			}
		}
	})
}
