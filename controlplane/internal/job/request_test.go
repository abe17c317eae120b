package job_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestCreateIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
		req := job.Request{Kind: "k", Args: map[string]int{"n": 1},
			Subjects: []string{"servers/b", "servers/a"}, RequestID: "r1", Who: "ann"}
		first := create(t, e, req)
		req.Subjects = []string{"servers/a", "servers/b"}
		if again := create(t, e, req); again.ID != first.ID {
			t.Errorf("the same request made another job")
		}
		req.Args = map[string]int{"n": 2}
		if _, err := e.Create(t.Context(), req); !hasReason(err,
			errorsv1.Reason_REASON_REQUEST_REUSED) {
			t.Errorf("another body: %v, want REQUEST_REUSED", err)
		}
	})
}

func TestCreateAtTheSameTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
		var wg sync.WaitGroup
		ids := make([]string, 8)
		for i := range ids {
			wg.Go(func() {
				j, err := e.Create(context.Background(),
					job.Request{Kind: "k", RequestID: "r", Subjects: []string{"servers/x"}})
				if err != nil {
					t.Error(err)
				}
				ids[i] = j.ID
			})
		}
		wg.Wait()
		if slices.Sort(ids); ids[0] != ids[7] {
			t.Errorf("several jobs were made: %v", ids)
		}
	})
}

func TestRequestIDsOfChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var runs atomic.Int32
		count := func(context.Context, *job.Run) (outcome, error) {
			runs.Add(1)
			return job.Done[*store.Tx](nil)
		}
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: count}, {Kind: "b", Handler: done}}})
		start(t, e)
		first := create(t, e, job.Request{Kind: "k", RequestID: "made"})
		other := create(t, e, job.Request{Kind: "k"})
		await(t, e, first.ID, inState(job.Succeeded))
		await(t, e, other.ID, inState(job.Succeeded))
		redo := func(id, step, reason, requestID string) error {
			_, err := e.Redo(t.Context(), id, step, job.ChangeRequest{Reason: reason,
				RequestID: requestID})
			if err == nil {
				await(t, e, id, inState(job.Succeeded))
			}
			return err
		}
		for _, id := range []string{"r1", "r2", "r1", "r2"} {
			if err := redo(first.ID, "a", "again", id); err != nil {
				t.Fatal(err)
			}
		}
		if runs.Load() != 4 { // twice when the jobs were made
			t.Errorf("the step ran %d times, want 4: a request id is one redo", runs.Load())
		}
		for name, err := range map[string]error{
			"another step":   redo(first.ID, "b", "again", "r1"),
			"another reason": redo(first.ID, "a", "once more", "r1"),
			"another job":    redo(other.ID, "a", "again", "r1"),
			"a creation's":   redo(first.ID, "a", "again", "made"),
			"another verb": second(e.RetryStep(t.Context(), first.ID, "a",
				job.ChangeRequest{Reason: "again", RequestID: "r1"})),
			"a new job": second(e.Create(t.Context(), job.Request{Kind: "k", RequestID: "r1"})),
		} {
			if !hasReason(err, errorsv1.Reason_REASON_REQUEST_REUSED) {
				t.Errorf("%s under a used request id: %v, want REQUEST_REUSED", name, err)
			}
		}
		if runs.Load() != 4 {
			t.Errorf("a refused request was carried out")
		}
	})
}

func TestRepeatedRequestAnswersWithTheJobAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
		j := create(t, e, job.Request{Kind: "k"})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				got, err := e.Cancel(context.Background(), j.ID, job.ChangeRequest{RequestID: "r"})
				if err != nil || got.State != job.Cancelled {
					t.Errorf("cancel: %s, %v", got.State, err)
				}
			})
		}
		wg.Wait()
		if got, err := e.Retry(t.Context(), j.ID, job.ChangeRequest{}); err != nil ||
			got.State != job.Queued {
			t.Fatalf("retry: %s, %v", got.State, err)
		}
		got, err := e.Cancel(t.Context(), j.ID, job.ChangeRequest{RequestID: "r"})
		if err != nil || got.State != job.Queued {
			t.Errorf("the repeated cancel: %s, %v, want the job queued as it is", got.State, err)
		}
	})
}
