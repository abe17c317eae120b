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

func TestStepsRunInOrderAndCommitWithTheirRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		var mu sync.Mutex
		var order []string
		note := func(commit job.Commit[*store.Tx]) handler {
			return func(_ context.Context, run *job.Run) (outcome, error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, run.Step+" "+run.EffectKey[len(run.JobID):])
				run.Changed("did %s", run.Step)
				return job.Done(commit)
			}
		}
		e := newEngine(t, config{Store: st}, plan{Kind: "k", Steps: []step{
			{Kind: "a", Handler: note(nil)},
			{Kind: "b", Handler: note(func(ctx context.Context, tx *store.Tx) error {
				return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1"})
			})},
			{Kind: "c", Handler: note(nil)},
		}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k", Args: map[string]string{"x": "y"},
			Subjects: []string{"servers/db1"}})
		j = await(t, e, j.ID, inState(job.Succeeded))
		if want := []string{"a /a/1", "b /b/1", "c /c/1"}; !slices.Equal(order, want) {
			t.Errorf("order = %v, want %v", order, want)
		}
		if s, _ := j.Step("b"); s.Attempts != 1 || !slices.Equal(s.Changed, []string{"did b"}) ||
			s.Finished.IsZero() {
			t.Errorf("step b = %+v", s)
		}
		err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Servers().Get(ctx, "db1")
			return err
		})
		if err != nil {
			t.Errorf("the record of step b: %v", err)
		}
	})
}

func TestFailedCommitLeavesNothingAndIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		var tries atomic.Int32
		e := newEngine(t, config{Store: st}, plan{Kind: "k", Steps: []step{{
			Kind: "a", Backoff: job.Backoff{First: time.Millisecond},
			Handler: func(context.Context, *job.Run) (outcome, error) {
				n := tries.Add(1)
				return job.Done(func(ctx context.Context, tx *store.Tx) error {
					if err := tx.Servers().Insert(ctx, &inventory.Server{Name: "db1"}); err != nil {
						return err
					}
					if n == 1 {
						return errors.New("no")
					}
					return nil
				})
			},
		}}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		j = await(t, e, j.ID, inState(job.Succeeded))
		if s := j.Steps[0]; s.Attempts != 2 || tries.Load() != 2 {
			t.Errorf("attempts = %d, tries = %d, want 2", s.Attempts, tries.Load())
		}
	})
}

func TestWaitIsWoken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ready atomic.Bool
		e := newEngine(t, config{Store: openStore(t)}, plan{Kind: "k", Steps: []step{{
			Kind: "a",
			Handler: func(context.Context, *job.Run) (outcome, error) {
				if ready.Load() {
					return job.Done[*store.Tx](nil)
				}
				return job.Again[*store.Tx](0, "not yet")
			},
		}}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		j = await(t, e, j.ID, func(j job.Job) bool { return j.State == job.Waiting })
		if s := j.Steps[0]; s.Reason != "not yet" || j.Reason != "a: not yet" {
			t.Errorf("reasons = %q, %q", s.Reason, j.Reason)
		}
		ready.Store(true)
		began := time.Now()
		e.Wake(j.ID)
		j = await(t, e, j.ID, inState(job.Succeeded))
		if took := time.Since(began); took > 800*time.Millisecond {
			t.Errorf("woke after %s: that was the poll", took)
		}
		if j.Steps[0].Attempts != 1 {
			t.Errorf("a wait cost %d attempts", j.Steps[0].Attempts)
		}
	})
}
