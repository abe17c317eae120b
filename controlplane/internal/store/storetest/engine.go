package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

type outcome = job.Outcome[*store.Tx]

// countingPlan records each completion in a counter, in its own transaction.
func countingPlan() job.Plan[*store.Tx] {
	step := func(kind string) job.PlanStep[*store.Tx] {
		tried := sync.Map{}
		return job.PlanStep[*store.Tx]{Kind: kind, Backoff: job.Backoff{First: time.Millisecond},
			Handler: func(_ context.Context, run *job.Run) (outcome, error) {
				if _, again := tried.LoadOrStore(run.EffectKey, true); !again {
					return outcome{}, errors.New("the first attempt always fails")
				}
				return job.Done(func(ctx context.Context, tx *store.Tx) error {
					_, err := tx.Next(ctx, run.EffectKey, 1)
					return err
				})
			}}
	}
	return job.Plan[*store.Tx]{Kind: "count", Steps: []job.PlanStep[*store.Tx]{step("a"), step("b"),
		step("c")}}
}

func runEngine(t *testing.T, st *store.Store) (e *job.Engine[*store.Tx], stop func()) {
	t.Helper()
	e, err := job.New(job.Config[*store.Tx]{Store: st, Plans: []job.Plan[*store.Tx]{countingPlan()},
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func testEngine(t *testing.T, open Open) {
	st := open(t)
	e, stop := runEngine(t, st)
	defer stop()
	countJobs(t, st, []*job.Engine[*store.Tx]{e}, 5)
}

func testTwoEngines(t *testing.T, open Open) {
	st := open(t)
	first, stop1 := runEngine(t, st)
	defer stop1()
	second, stop2 := runEngine(t, open(t))
	defer stop2()
	countJobs(t, st, []*job.Engine[*store.Tx]{first, second}, 10)
}

func countJobs(t *testing.T, st *store.Store, engines []*job.Engine[*store.Tx], n int) {
	var ids []string
	for i := range n {
		j, err := engines[i%len(engines)].Create(t.Context(),
			job.Request{Kind: "count", Subjects: []string{fmt.Sprintf("servers/s%d", i)}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	for _, id := range ids {
		j := finished(t, engines[0], id)
		if j.State != job.Succeeded {
			t.Errorf("job is %s: %s", j.State, j.Reason)
		}
		for _, s := range j.Steps {
			write(t, st, func(ctx context.Context, tx *store.Tx) error {
				n, err := tx.Next(ctx, fmt.Sprintf("%s/%s/1", id, s.Kind), 1)
				if n != 2 || s.Attempts < 2 {
					t.Errorf("step %s was recorded %d times in %d attempts", s.Kind, n-1,
						s.Attempts)
				}
				return err
			})
		}
	}
}

func finished(t *testing.T, e *job.Engine[*store.Tx], id string) (last job.Job) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	updates, err := e.Watch(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for last = range updates {
		if last.State.Ended() {
			return last
		}
	}
	t.Fatalf("job %s does not end: %+v", id, last)
	return last
}
