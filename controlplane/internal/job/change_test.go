package job_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestUnknownKind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
		_, err := e.Create(t.Context(), job.Request{Kind: "nope"})
		if !errors.Is(err, errs.InvalidArgument) {
			t.Errorf("error %v, want InvalidArgument", err)
		}
	})
}

func TestOneChangingJobForEachSubject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: func(context.Context,
				*job.Run) (outcome, error) {
				return job.AskOperator[*store.Tx]("is it well?", errs.Hint{Text: "check it"})
			}}}})
		start(t, e)
		first := create(t, e, job.Request{Kind: "k", Subjects: []string{"servers/x", "servers/y"}})
		await(t, e, first.ID, inState(job.ActionRequired))
		_, err := e.Create(t.Context(), job.Request{Kind: "k", Subjects: []string{"servers/y"}})
		wantBusy(t, err, "servers/y", first)
		if _, err := e.Cancel(t.Context(), first.ID, job.ChangeRequest{Who: "ann"}); err != nil {
			t.Fatal(err)
		}
		await(t, e, first.ID, inState(job.Cancelled))
		second := create(t, e, job.Request{Kind: "k", Subjects: []string{"servers/y"}})
		_, err = e.Retry(t.Context(), first.ID, job.ChangeRequest{Who: "ann"})
		wantBusy(t, err, "servers/y", second)
		if j, err := e.Get(t.Context(), first.ID); err != nil || j.State != job.Cancelled {
			t.Errorf("a refused retry left %s, %v", j.State, err)
		}
	})
}

func wantBusy(t *testing.T, err error, subject string, holder job.Job) {
	t.Helper()
	if meta := errs.MetaOf(err); !hasReason(err, errorsv1.Reason_REASON_JOB_BUSY) ||
		meta["job"] != "jobs/"+holder.ID || meta["subject"] != subject {
		t.Errorf("error %v (%v), want that job %s is changing %s", err, meta, holder.ID, subject)
	}
}

func hasReason(err error, reason errorsv1.Reason) bool {
	return err != nil && errs.ReasonOf(err) == reason
}

func TestCancelStopsTheHandlerAndReleases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		entered := make(chan struct{})
		var released atomic.Bool
		e := newEngine(t, config{Store: openStore(t)}, plan{Kind: "k", Steps: []step{
			{Kind: "hold", Section: "s", Handler: done},
			{Kind: "cut", Section: "s", Handler: func(ctx context.Context, _ *job.Run) (outcome,
				error) {
				close(entered)
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), job.ErrCancelled) {
					t.Errorf("cause = %v", context.Cause(ctx))
				}
				return failed(ctx.Err())
			}},
			{Kind: "release", Section: "s", Always: true,
				Handler: func(_ context.Context, run *job.Run) (outcome, error) {
					if !run.Unwinding {
						t.Error("the release does not know that the job is unwinding")
					}
					released.Store(true)
					return job.Done[*store.Tx](nil)
				}},
			{Kind: "rest", Handler: done},
		}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k", Subjects: []string{"servers/x"}})
		<-entered
		if _, err := e.Cancel(t.Context(), j.ID,
			job.ChangeRequest{Who: "ann", Reason: "changed my mind"}); err != nil {
			t.Fatal(err)
		}
		j = await(t, e, j.ID, inState(job.Cancelled))
		if want := "hold=succeeded cut=cancelled release=succeeded rest=cancelled "; states(
			j) != want || !released.Load() {
			t.Errorf("steps: %s, want %s", states(j), want)
		}
	})
}

func TestCancelByAnotherProcess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		entered := make(chan struct{})
		p := plan{Kind: "k",
			Steps: []step{{Kind: "a", Handler: func(ctx context.Context, _ *job.Run) (outcome,
				error) {
				close(entered)
				<-ctx.Done()
				return failed(ctx.Err())
			}}}}
		worker := newEngine(t, config{Store: st}, p)
		other := newEngine(t, config{Store: st}, p)
		start(t, worker)
		j := create(t, other, job.Request{Kind: "k"})
		<-entered
		if _, err := other.Cancel(t.Context(), j.ID, job.ChangeRequest{Who: "ann"}); err != nil {
			t.Fatal(err)
		}
		await(t, other, j.ID, inState(job.Cancelled))
	})
}

func TestRequestsAreAuditedAndIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := openStore(t)
		var fail atomic.Bool
		fail.Store(true)
		var runs atomic.Int32
		e := newEngine(t, config{Store: st},
			plan{Kind: "k", Title: "a title",
				Steps: []step{{Kind: "a", Handler: func(context.Context, *job.Run) (outcome,
					error) {
					runs.Add(1)
					if fail.Load() {
						return failed(job.Permanent(errors.New("no")))
					}
					return job.Done[*store.Tx](nil)
				}}}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k", Who: "ann", RequestID: "r0"})
		await(t, e, j.ID, inState(job.Failed))
		fail.Store(false)
		for range 2 {
			if _, err := e.Retry(t.Context(), j.ID,
				job.ChangeRequest{Who: "bob", Reason: "repaired", RequestID: "r1"}); err != nil {
				t.Fatal(err)
			}
			await(t, e, j.ID, inState(job.Succeeded))
		}
		if runs.Load() != 2 {
			t.Errorf("the step ran %d times, want 2: one request id is one retry", runs.Load())
		}
		var audit []inventory.Event
		err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			audit, _, err = tx.Events().List(ctx, store.EventFilter{Job: j.ID}, store.Page{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, ev := range slices.Backward(audit) {
			lines = append(lines, strings.Join([]string{ev.Actor, ev.Action, ev.Message,
				ev.RequestID}, "|"))
		}
		want := []string{"ann|job.create|a title|r0", "controlplane|job.failed|a: no|",
			"bob|job.retry|repaired|r1", "controlplane|job.succeeded||"}
		if !slices.Equal(lines, want) {
			t.Errorf("audit = %q\nwant %q", lines, want)
		}
	})
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: done}}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		await(t, e, j.ID, inState(job.Succeeded))
		req := job.ChangeRequest{Who: "ann"}
		for _, tt := range []struct {
			err        error
			kind       errs.Kind
			text, hint string
		}{
			{second(e.Cancel(t.Context(), j.ID, req)), errs.FailedPrecondition,
				"cannot cancel job ID: job ID has succeeded already",
				"delete what the job made if it is not wanted"},
			{second(e.Retry(t.Context(), j.ID, req)), errs.FailedPrecondition,
				"cannot retry job ID: job ID has succeeded", "name a step to run it again"},
			{second(e.RetryStep(t.Context(), j.ID, "x", req)), errs.NotFound,
				`cannot retry step x of job ID: job ID has no step "x"`,
				"name one of its steps: a"},
			{second(e.Skip(t.Context(), j.ID, "a", req)), errs.InvalidArgument,
				"cannot skip step a of job ID: a reason is required",
				"say why the step is not needed"},
			{second(e.Skip(t.Context(), j.ID, "a", job.ChangeRequest{Reason: "r"})),
				errs.FailedPrecondition,
				"cannot skip step a of job ID: step a of job ID is succeeded",
				"redo the step to run it again once the job has ended " +
					"(RedoStep name=jobs/ID step=a)"},
			{second(e.Retry(t.Context(), "nope", req)), errs.NotFound,
				"cannot retry job nope: there is no job nope", "list the jobs (ListJobs)"},
			{second(e.Get(t.Context(), "nope")), errs.NotFound,
				"cannot read job nope: there is no job nope", "list the jobs (ListJobs)"},
		} {
			text := strings.ReplaceAll(tt.text, "ID", j.ID)
			hint := strings.ReplaceAll(tt.hint, "ID", j.ID)
			if !errors.Is(tt.err, tt.kind) || tt.err.Error() != text ||
				errs.HintOf(tt.err).String() != hint {
				t.Errorf("got  %v (hint: %s)\nwant %s (hint: %s)", tt.err,
					errs.HintOf(tt.err), text, hint)
			}
		}
	})
}

func second(_ job.Job, err error) error { return err }

func TestRetryStepAloneAfterSuccess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var keys []string
		note := func(_ context.Context, run *job.Run) (outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, run.EffectKey[len(run.JobID):])
			return job.Done[*store.Tx](nil)
		}
		e := newEngine(t, config{Store: openStore(t)},
			plan{Kind: "k", Steps: []step{{Kind: "a", Handler: note}, {Kind: "b", Handler: note},
				{Kind: "c", Handler: note}}})
		start(t, e)
		j := create(t, e, job.Request{Kind: "k"})
		await(t, e, j.ID, inState(job.Succeeded))
		if _, err := e.RetryStep(t.Context(), j.ID, "b",
			job.ChangeRequest{Who: "ann"}); err != nil {
			t.Fatal(err)
		}
		await(t, e, j.ID, inState(job.Succeeded))
		if _, err := e.Redo(t.Context(), j.ID, "b", job.ChangeRequest{Who: "ann"}); err != nil {
			t.Fatal(err)
		}
		await(t, e, j.ID, inState(job.Succeeded))
		want := []string{"/a/1", "/b/1", "/c/1", "/b/1", "/b/2", "/c/2"}
		if !slices.Equal(keys, want) {
			t.Errorf("effects = %v, want %v", keys, want)
		}
	})
}

func TestStepLimits(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, _ *job.Run) (outcome, error) {
		<-ctx.Done()
		return failed(errors.New("interrupted"))
	}
	fast := job.Backoff{First: time.Millisecond, Max: time.Millisecond}
	for _, tt := range []struct {
		name     string
		step     step
		attempts int
		message  string
	}{
		{"attempts", step{Attempts: 3, Handler: func(context.Context, *job.Run) (outcome,
			error) {
			return failed(errors.New("no"))
		}}, 3, "no"},
		{"permanent", step{Handler: func(context.Context, *job.Run) (outcome, error) {
			return failed(job.Permanent(errors.New("never")))
		}}, 1, "never"},
		{"attempt timeout", step{Attempts: 2, AttemptTimeout: 20 * time.Millisecond, Handler: hang},
			2, "not done within 20ms: interrupted"},
		{"step timeout of a wait",
			step{Timeout: 50 * time.Millisecond, Handler: func(context.Context, *job.Run) (outcome,
				error) {
				return job.Again[*store.Tx](time.Millisecond, "still 40 %%")
			}}, 1, "not done within 50ms: still 40 %"},
		{"panic", step{Handler: func(context.Context, *job.Run) (outcome, error) { panic("oops") }},
			1, "the handler of step a panicked; the log of me has the details"},
		{"no outcome", step{Handler: func(context.Context, *job.Run) (outcome,
			error) {
			return outcome{}, nil
		}}, 1, "the step's handler answered with neither an outcome nor an error"},
	} {
		bubbles(t, tt.name, func(t *testing.T) {
			tt.step.Kind, tt.step.Backoff = "a", fast
			e := newEngine(t, config{Store: openStore(t), Owner: "me"},
				plan{Kind: "k", Steps: []step{tt.step}})
			start(t, e)
			j := create(t, e, job.Request{Kind: "k"})
			j = await(t, e, j.ID, inState(job.Failed))
			if s := j.Steps[0]; s.Attempts != tt.attempts || s.Failure == nil ||
				s.Failure.Message != tt.message {
				t.Errorf("attempts = %d, failure = %+v", s.Attempts, s.Failure)
			}
		})
	}
}
