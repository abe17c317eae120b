package job_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// lease is a kept value that counts how often it was closed.
type lease struct{ closed atomic.Int32 }

func (l *lease) Close() error { l.closed.Add(1); return nil }

func TestKeptValuesLiveAsLongAsTheirSection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var inside, outside lease
		e := newEngine(t, config{Store: openStore(t)}, plan{Kind: "k", Steps: []step{
			{Kind: "reserve", Handler: func(_ context.Context, run *job.Run) (outcome, error) {
				run.Keep("reservation", &outside)
				return job.Done[*store.Tx](nil)
			}},
			{Kind: "hold", Section: "s", Handler: func(_ context.Context, run *job.Run) (outcome,
				error) {
				run.Keep("hold", &inside)
				return job.Done[*store.Tx](nil)
			}},
			{Kind: "cut", Section: "s", Handler: func(_ context.Context, run *job.Run) (outcome,
				error) {
				if v, ok := run.Kept("hold"); !ok || v != &inside || inside.closed.Load() != 0 {
					t.Error("the hold is not there in its section")
				}
				return job.Done[*store.Tx](nil)
			}},
			{Kind: "after", Handler: func(_ context.Context, run *job.Run) (outcome, error) {
				if _, ok := run.Kept("hold"); ok || inside.closed.Load() != 1 {
					t.Error("the hold outlived its section")
				}
				if _, ok := run.Kept("reservation"); !ok || outside.closed.Load() != 0 ||
					run.HoldContext().Err() != nil {
					t.Error("what was kept outside the section did not outlive it")
				}
				return job.Done[*store.Tx](nil)
			}},
		}})
		stop := start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		await(t, e, j.ID, inState(job.Succeeded))
		stop()
		if inside.closed.Load() != 1 || outside.closed.Load() != 1 {
			t.Errorf("closed %d and %d times, want once each", inside.closed.Load(),
				outside.closed.Load())
		}
	})
}

func TestKeptValuesAreClosedWhenTheSectionGoesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var holds []*lease
		e := newEngine(t, config{Store: openStore(t)}, plan{Kind: "k", Steps: []step{
			{Kind: "hold", Section: "s", Handler: func(_ context.Context, run *job.Run) (outcome,
				error) {
				mu.Lock()
				defer mu.Unlock()
				if len(holds) > 0 && holds[len(holds)-1].closed.Load() != 1 {
					t.Error("a second hold is taken while the first lasts")
				}
				holds = append(holds, &lease{})
				run.Keep("hold", holds[len(holds)-1])
				return job.Done[*store.Tx](nil)
			}},
			{Kind: "cut", Section: "s", Handler: func(_ context.Context, run *job.Run) (outcome,
				error) {
				if run.Generation == 1 {
					return job.Back[*store.Tx]("the hold broke")
				}
				return job.Done[*store.Tx](nil)
			}},
		}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		j = await(t, e, j.ID, inState(job.Succeeded))
		if len(holds) != 2 || j.Steps[0].Generation != 2 || j.Steps[0].Restarts != 1 {
			t.Errorf("%d holds, steps %+v", len(holds), j.Steps)
		}
	})
}

func TestKeptValuesAreClosedOnCancelAndStop(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"cancel", "stop", "failure"} {
		bubbles(t, how, func(t *testing.T) {
			var hold lease
			entered := make(chan struct{}, 1)
			e := newEngine(t, config{Store: openStore(t)}, plan{Kind: "k", Steps: []step{
				{Kind: "hold", Section: "s",
					Handler: func(ctx context.Context, run *job.Run) (outcome, error) {
						run.Keep("hold", &hold)
						entered <- struct{}{}
						if how != "failure" {
							<-ctx.Done()
						}
						return failed(job.Permanent(errors.New("no")))
					}},
				{Kind: "release", Section: "s", Always: true,
					Handler: func(_ context.Context, run *job.Run) (outcome, error) {
						if _, ok := run.Kept("hold"); !ok {
							t.Error("the release does not find the hold")
						}
						return job.Done[*store.Tx](run0(run.Drop("hold")))
					}},
			}})
			stop := start(t, e)
			j := create(t, e, job.Request{Kind: "k"})
			<-entered
			if how == "cancel" {
				if _, err := e.Cancel(t.Context(), j.ID, job.ChangeRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			if how != "stop" {
				await(t, e, j.ID, atRest)
			}
			stop()
			if hold.closed.Load() != 1 {
				t.Errorf("the hold was closed %d times", hold.closed.Load())
			}
		})
	}
}

// run0 makes a commit function that answers with err.
func run0(err error) job.Commit[*store.Tx] {
	return func(context.Context, *store.Tx) error { return err }
}

func TestWatchersSeeProgressAtOnceAndOthersSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		reported, finish := make(chan struct{}), make(chan struct{})
		p := plan{Kind: "k",
			Steps: []step{{Kind: "a", Handler: func(_ context.Context, run *job.Run) (outcome,
				error) {
				run.Found("unit %s is masked", "mariadb.service")
				run.Found("unit %s is masked", "mariadb.service")
				run.Changed("unmasked it")
				run.Progress(job.Progress{Done: 3, Total: 10, Unit: "tables", ETA: time.Minute})
				close(reported)
				<-finish
				return job.Done[*store.Tx](nil)
			}}}}
		e := newEngine(t, config{Store: st, Limit: 300 * time.Millisecond}, p)
		other := newEngine(t, config{Store: st}, p)
		start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		<-reported
		visible := func(j job.Job) bool {
			s := j.Steps[0]
			return s.Progress.Done == 3 && s.Progress.ETA == time.Minute &&
				slices.Equal(s.Found, []string{"unit mariadb.service is masked"}) &&
				slices.Equal(s.Changed, []string{"unmasked it"})
		}
		if now, err := e.Get(t.Context(), j.ID); err != nil || !visible(now) {
			t.Errorf("this process sees %+v, %v", now.Steps[0], err)
		}
		await(t, other, j.ID, visible)
		close(finish)
		if j = await(t, e, j.ID, inState(job.Succeeded)); !visible(j) {
			t.Errorf("the end shows %+v", j.Steps[0])
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
		j := create(t, e, job.Request{Kind: "k"})
		ctx, cancel := context.WithCancel(t.Context())
		updates, err := e.Watch(ctx, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		<-updates
		cancel()
		for range updates {
		}
		if _, err := e.Watch(t.Context(), "nope"); !errors.Is(err, errs.NotFound) {
			t.Errorf("watch of no job: %v", err)
		}
	})
}

func TestHookSeesEveryPoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var points []string
		e := newEngine(t, config{Store: openStore(t), Hook: func(p job.Point, _, step string) {
			mu.Lock()
			defer mu.Unlock()
			points = append(points, step+" "+string(p))
		}}, plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}, {Kind: "b", Handler: done}}})
		stop := start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		await(t, e, j.ID, inState(job.Succeeded))
		stop()
		want := []string{"a before_effect", "a after_effect", "a after_commit", "b before_effect",
			"b after_effect", "b after_commit"}
		if !slices.Equal(points, want) {
			t.Errorf("points = %v\nwant %v", points, want)
		}
	})
}

func TestStoreOutOfReachLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		var out atomic.Bool
		var calls atomic.Int32
		gone := &mortal{Store: st, fate: func() fate { return goesWell }}
		gone.away = &out
		e := newEngine(t, config{Store: gone, Limit: 10 * time.Second},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: func(context.Context,
				*job.Run) (outcome, error) {
				calls.Add(1)
				out.Store(true)
				return job.Done[*store.Tx](nil)
			}}}})
		start(t, e)
		j := create(t, newEngine(t, config{Store: st},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}}), job.Request{Kind: "k"})
		for calls.Load() == 0 || gone.refused.Load() < 3 {
			time.Sleep(time.Millisecond) // until the outcome was tried to be written a few times
		}
		if _, err := e.Create(t.Context(), job.Request{Kind: "k"}); !errors.Is(err,
			job.ErrUnavailable) {
			t.Errorf("a new job while the store is away: %v, want ErrUnavailable", err)
		}
		out.Store(false)
		j = await(t, e, j.ID, inState(job.Succeeded))
		if calls.Load() != 1 || j.Steps[0].Attempts != 1 {
			t.Errorf("the handler was called %d times in %d attempts: its outcome was lost",
				calls.Load(), j.Steps[0].Attempts)
		}
	})
}
