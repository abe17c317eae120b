package job_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// sleeper is a process's way to the store that can be stopped like a process by SIGSTOP: what it
// was about to do it does afterwards.
type sleeper struct {
	*store.Store
	mu   sync.Mutex
	gate chan struct{}
}

func (s *sleeper) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *sleeper) cont() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gate)
	s.gate = nil
}

func (s *sleeper) wait() {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (s *sleeper) Write(_ context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	s.wait()
	// not even an ended context holds the stale write back: the fence alone does
	return s.Store.Write(context.Background(), fn)
}

func (s *sleeper) Read(ctx context.Context,
	fn func(ctx context.Context, tx *store.Tx) error) error {
	s.wait()
	return s.Store.Read(ctx, fn)
}

func TestPausedWorkerWritesNothing(t *testing.T) {
	t.Parallel()
	bubbles(t, "paused in its handler", func(t *testing.T) { pausedWorker(t, true) })
	bubbles(t, "paused with the outcome on its way",
		func(t *testing.T) { pausedWorker(t, false) })
}

func pausedWorker(t *testing.T, inHandler bool) {
	st := openStore(t)
	asleep := &sleeper{Store: st}
	const limit = 300 * time.Millisecond
	entered := make(chan *job.Run, 2)
	release, fenced := make(chan struct{}), make(chan struct{})
	p := plan{Kind: "k", Steps: []step{{
		Kind: "a",
		Handler: func(ctx context.Context, run *job.Run) (outcome, error) {
			entered <- run
			if run.Owner == "first" {
				<-release
			}
			if run.Owner == "first" && inHandler {
				if err := run.Prove(context.WithoutCancel(ctx)); !errors.Is(err, job.ErrFenced) {
					t.Errorf("the first worker proves its hold: %v", err)
				}
				<-ctx.Done()
				close(fenced)
				if !errors.Is(context.Cause(ctx), job.ErrFenced) {
					t.Errorf("the first worker's context ended because %v, want ErrFenced",
						context.Cause(ctx))
				}
			}
			return job.Done(func(ctx context.Context, tx *store.Tx) error {
				return tx.Servers().Insert(ctx, &inventory.Server{Name: run.Owner})
			})
		},
	}}}
	first := newEngine(t, config{Store: asleep, Owner: "first", Limit: limit}, p)
	second := newEngine(t, config{Store: st, Owner: "second", Limit: limit}, p)
	stop := start(t, first)
	j := create(t, second, job.Request{Kind: "k"})
	run1 := <-entered
	asleep.stop()
	if !inHandler {
		close(release)
	}
	start(t, second)
	run2 := <-entered
	j = await(t, second, j.ID, inState(job.Succeeded))
	if inHandler {
		close(release)
	}
	asleep.cont()
	if inHandler {
		<-fenced
	}
	stop()
	if !run1.TakenOver.IsZero() || run2.TakenOver.IsZero() {
		t.Errorf("taken over at %s, then at %s", run1.TakenOver, run2.TakenOver)
	}
	if run2.Epoch <= run1.Epoch || run1.EffectKey != run2.EffectKey || run2.Attempt != run1.Attempt+
		1 {
		t.Errorf("taken over as %+v after %+v", run2, run1)
	}
	if names := serverNames(t, st); !slices.Equal(names, []string{"second"}) {
		t.Errorf("records = %v: want the second worker's alone", names)
	}
	after, err := second.Get(t.Context(), j.ID)
	if err != nil || after.Rev != j.Rev || after.Epoch != run2.Epoch ||
		after.State != job.Succeeded {
		t.Errorf("job = %+v, %v", after, err)
	}
	attempts, err := second.Attempts(t.Context(), j.ID)
	if err != nil || len(attempts) != 2 || attempts[0].State != job.AttemptLost ||
		attempts[1].State != job.AttemptDone {
		t.Errorf("attempts = %+v, %v", attempts, err)
	}
}

func serverNames(t *testing.T, st *store.Store) (names []string) {
	err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		all, _, err := tx.Servers().List(ctx, store.ServerFilter{}, store.Page{})
		for _, s := range all {
			names = append(names, s.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestLivingWorkerIsNotTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		const limit = 300 * time.Millisecond
		owners := make(chan string, 10)
		p := plan{Kind: "k", Steps: []step{{
			Kind: "a",
			Handler: func(ctx context.Context, run *job.Run) (outcome, error) {
				owners <- run.Owner
				timer := time.NewTimer(5 * limit)
				defer timer.Stop()
				select {
				case <-timer.C:
					return job.Done[*store.Tx](nil)
				case <-ctx.Done():
					return failed(context.Cause(ctx))
				}
			},
		}}}
		engines := []*job.Engine[*store.Tx]{
			newEngine(t, config{Store: st, Limit: limit}, p),
			newEngine(t, config{Store: st, Limit: limit}, p),
			newEngine(t, config{Store: st, Limit: limit}, p),
		}
		for _, e := range engines {
			start(t, e)
		}
		j := create(t, engines[0], job.Request{Kind: "k"})
		j = await(t, engines[1], j.ID, inState(job.Succeeded))
		if len(owners) != 1 || j.Epoch != 1 {
			t.Errorf("%d workers ran it, epoch %d: want one", len(owners), j.Epoch)
		}
	})
}

func TestStopLetsGoAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		var stopped atomic.Bool
		entered := make(chan struct{}, 2)
		p := plan{Kind: "k", Steps: []step{{
			Kind: "a",
			Handler: func(ctx context.Context, _ *job.Run) (outcome, error) {
				entered <- struct{}{}
				if stopped.Load() {
					return job.Done[*store.Tx](nil)
				}
				<-ctx.Done()
				return failed(ctx.Err())
			},
		}}}
		first := newEngine(t, config{Store: st, Limit: time.Minute}, p)
		stop := start(t, first)
		j := create(t, first, job.Request{Kind: "k"})
		<-entered
		stopped.Store(true)
		stop()
		j, err := first.Get(t.Context(), j.ID)
		if err != nil || j.State != job.Queued || j.Owner != "" {
			t.Fatalf("after the stop: %+v, %v", j, err)
		}
		// it would wait a minute for a dead one
		second := newEngine(t, config{Store: st, Limit: time.Minute}, p)
		start(t, second)
		j = await(t, second, j.ID, inState(job.Succeeded))
		if s := j.Steps[0]; s.Attempts != 2 || s.Failures != 0 {
			t.Errorf("attempts %d, failures %d: a stop is nobody's failure", s.Attempts, s.Failures)
		}
	})
}

func TestUnknownStepsAreLeftToOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		old := plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}}
		with := plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done},
			{Kind: "b", Handler: done}}}
		older := newEngine(t, config{Store: st, Owner: "older"}, old)
		newer := newEngine(t, config{Store: st, Owner: "newer"}, with)
		j := create(t, newer, job.Request{Kind: "k"})
		start(t, older)
		start(t, newer)
		await(t, newer, j.ID, inState(job.Succeeded))
		attempts, err := newer.Attempts(t.Context(), j.ID)
		if err != nil || len(attempts) != 2 || attempts[0].Owner != "newer" ||
			attempts[1].Owner != "newer" {
			t.Errorf("attempts = %+v, %v", attempts, err)
		}
	})
}

func TestWorkerThatCannotProveItsHoldGivesItUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		var away atomic.Bool
		gone := &mortal{Store: st, fate: func() fate { return goesWell }, away: &away}
		causes := make(chan error, 1)
		var calls atomic.Int32
		p := plan{Kind: "k",
			Steps: []step{{Kind: "a", Handler: func(ctx context.Context, _ *job.Run) (outcome,
				error) {
				if calls.Add(1) > 1 {
					return job.Done[*store.Tx](nil)
				}
				away.Store(true)
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return failed(ctx.Err())
			}}}}
		e := newEngine(t, config{Store: gone, Limit: 300 * time.Millisecond}, p)
		start(t, e)
		j := create(t, newEngine(t, config{Store: st}, p), job.Request{Kind: "k"})
		if err := <-causes; !errors.Is(err, job.ErrFenced) {
			t.Errorf("cause = %v, want ErrFenced", err)
		}
		away.Store(false)
		j = await(t, e, j.ID, inState(job.Succeeded))
		if s := j.Steps[0]; s.Attempts != 2 || s.Failures != 0 || j.Epoch != 2 {
			t.Errorf("attempts %d, failures %d, epoch %d: want the job taken once more, "+
				"and no failure",
				s.Attempts, s.Failures, j.Epoch)
		}
	})
}
