package job

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// result is what came of a call of a handler, or of a wait.
type result[T any] struct {
	Outcome[T]
	err   error
	final bool // no further attempt can mend it
}

func (r result[T]) waits() bool { return r.err == nil && r.verdict == verdictAgain }

var errTimeout = errors.New("the attempt took too long")

// call runs the handler once, within the limits of attempt and step.
func (w *worker[T]) call(t *turn, limits PlanStep[T]) result[T] {
	left := limits.Timeout - t.elapsed()
	if left <= 0 {
		return w.overdue(t, limits)
	}
	ctx, leave := w.enter(t)
	defer leave()
	if ctx.Err() != nil {
		return result[T]{err: context.Cause(ctx)}
	}
	budget := min(left, limits.AttemptTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, budget, errTimeout)
	defer cancel()

	kind := t.step.Kind
	w.e.cfg.Hook(BeforeEffect, w.id, kind)
	outcome, err := w.guarded(ctx, limits.Handler, w.newRun(t, budget))
	w.e.cfg.Hook(AfterEffect, w.id, kind)
	return w.judge(ctx, outcome, err, budget)
}

// judge tells a handler's own error from one that the engine caused by ending its context.
func (w *worker[T]) judge(ctx context.Context, outcome Outcome[T], err error,
	budget time.Duration) result[T] {
	switch cause := context.Cause(ctx); {
	case err == nil && outcome.verdict == 0:
		return result[T]{err: errors.New(
			"the step's handler answered with neither an outcome nor an error"), final: true}
	case err == nil:
		return result[T]{Outcome: outcome}
	case errors.Is(cause, ErrStopping) || errors.Is(cause, ErrCancelled) ||
		errors.Is(cause, ErrFenced):
		return result[T]{err: cause}
	case errors.Is(cause, errTimeout):
		return result[T]{err: fmt.Errorf("not done within %s: %w", budget.Round(time.Millisecond),
			err)}
	}
	return failed[T](err)
}

func failed[T any](err error) result[T] { return result[T]{err: err, final: IsPermanent(err)} }

// overdue is the failure of a step that used up its time.
func (w *worker[T]) overdue(t *turn, limits PlanStep[T]) result[T] {
	why := t.waiting
	if f := t.step.Failure; why == "" && f != nil {
		why = f.Message
	}
	return result[T]{err: overdue{fmt.Sprintf("not done within %s: %s", limits.Timeout,
		or(why, "no attempt came to an end"))}, final: true}
}

// overdue is the error of a step whose time is up.
type overdue struct{ message string }

func (e overdue) Error() string { return e.message }

// Hint says what a person can do.
func (overdue) Hint() string {
	return "see to what it waited for, then retry: the step gets its whole time anew"
}

// guarded turns a panic of the handler into a permanent error; its stack goes to the log.
func (w *worker[T]) guarded(ctx context.Context, h Handler[T],
	run *Run) (out Outcome[T], err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("a step's handler panicked", "step", run.Step, "panic", p, "stack",
				string(debug.Stack()))
			err = Permanent(
				fmt.Errorf("the handler of step %s panicked; the log of %s has the details",
					run.Step, run.Owner))
		}
	}()
	return h(ctx, run)
}

func (w *worker[T]) newRun(t *turn, budget time.Duration) *Run {
	j, s := &t.job, &t.step
	return &Run{
		JobID: j.ID, JobKind: j.Kind, Args: j.Args, Subjects: j.Subjects, Who: j.Who,
		Step: s.Kind, Seq: s.Seq, Attempt: s.Attempts, Generation: s.Generation,
		EffectKey: effectKey(j.ID, s.Kind, s.Generation), Epoch: w.epoch, Owner: w.e.cfg.Owner,
		Deadline: time.Now().Add(budget), Unwinding: j.Mode == Unwind,
		Alone: j.Mode == Solo, LeftOut: j.leftOut(), TakenOver: w.since, live: t.told,
		values: w.values, hold: w.hold, prove: w.prove,
	}
}
