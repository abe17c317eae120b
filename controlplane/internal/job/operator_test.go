package job_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// TestActionRequired has a job ask its operator, and every request that an operator can answer
// with.
func TestActionRequired(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func(ctx context.Context, e *job.Engine[*store.Tx], id string) (job.Job, error)
		state  job.State
		steps  string
	}{
		{"retry", func(ctx context.Context, e *job.Engine[*store.Tx],
			id string) (job.Job, error) {
			return e.Retry(ctx, id, job.ChangeRequest{})
		}, job.Succeeded, "a=succeeded ask=succeeded z=succeeded "},
		{"retry of the step", func(ctx context.Context, e *job.Engine[*store.Tx],
			id string) (job.Job, error) {
			return e.RetryStep(ctx, id, "ask", job.ChangeRequest{})
		}, job.ActionRequired, "a=succeeded ask=succeeded z=pending "},
		{"skip", func(ctx context.Context, e *job.Engine[*store.Tx], id string) (job.Job, error) {
			return e.Skip(ctx, id, "ask", job.ChangeRequest{Reason: "done by hand"})
		}, job.Succeeded, "a=succeeded ask=skipped z=succeeded "},
		{"redo", func(ctx context.Context, e *job.Engine[*store.Tx], id string) (job.Job, error) {
			return e.Redo(ctx, id, "a", job.ChangeRequest{})
		}, job.Succeeded, "a=succeeded ask=succeeded z=succeeded "},
		{"cancel", func(ctx context.Context, e *job.Engine[*store.Tx], id string) (job.Job, error) {
			return e.Cancel(ctx, id, job.ChangeRequest{})
		}, job.Cancelled, "a=succeeded ask=cancelled z=cancelled "},
		{"cleanup", func(ctx context.Context, e *job.Engine[*store.Tx],
			id string) (job.Job, error) {
			return e.Cleanup(ctx, id, job.ChangeRequest{})
		}, job.Cancelled, "a=succeeded ask=action_required z=pending remove=succeeded "},
	} {
		bubbles(t, tt.name, func(t *testing.T) {
			var answered atomic.Bool
			hint := errs.Hint{Text: "attach it",
				Actions: []errs.Action{errs.Call("RetryJob", "name", job.ThisJob)}}
			e := newEngine(t, config{Store: openStore(t)}, plan{Kind: "k", Steps: []step{
				{Kind: "a", Handler: done},
				{Kind: "ask", Handler: func(context.Context, *job.Run) (outcome, error) {
					if answered.Load() {
						return job.Done[*store.Tx](nil)
					}
					return job.AskOperator[*store.Tx]("is volume v1 attached?", hint)
				}},
				{Kind: "z", Handler: done},
			}, Cleanup: []step{{Kind: "remove", Handler: done}}})
			start(t, e)
			j := create(t, e, job.Request{Kind: "k"})
			j = await(t, e, j.ID, inState(job.ActionRequired))
			asking, ok := j.Current()
			if !ok || asking.Kind != "ask" || asking.State != job.StepActionRequired ||
				asking.Reason != "is volume v1 attached?" || asking.Failures != 0 ||
				asking.Failure.Hint.String() != "attach it (RetryJob name=jobs/"+j.ID+")" {
				t.Fatalf("the step that asks is %+v", asking)
			}

			answered.Store(true)
			if _, err := tt.answer(t.Context(), e, j.ID); err != nil {
				t.Fatal(err)
			}
			j = await(t, e, j.ID, inState(tt.state))
			if states(j) != tt.steps {
				t.Errorf("steps: %s, want %s", states(j), tt.steps)
			}
			if s, _ := j.Step("ask"); s.State.Done() && s.Failure != nil {
				t.Errorf("an answered step still asks: %+v", s.Failure)
			}
		})
	}
}
