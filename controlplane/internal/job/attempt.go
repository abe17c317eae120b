package job

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// attempt is one try of a step by this process, or the wait for the next one.
type attempt[T any] struct {
	job    Job // as it was when the attempt began
	step   Step
	limits PlanStep[T]
	report *liveReport

	began time.Time     // by the monotonic clock
	spent time.Duration // on the step before this attempt

	pause   time.Duration // before the handler is called
	waiting string        // for what, as far as it is recorded
	backOff bool          // after the pause a new attempt is opened
}

// newAttempt is the first call of an attempt that was just opened.
func (w *worker[T]) newAttempt(j *Job, seq int) *attempt[T] {
	s := j.Steps[seq]
	limits, _ := w.plan.step(s.Kind)
	return &attempt[T]{
		job: j.clone(), step: s, limits: limits, began: time.Now(), spent: s.Spent,
		report: &liveReport{seq: seq, attempt: s.Attempts,
			changed: func() { w.e.published(w.id) }},
	}
}

// elapsed is the time spent on the step, waits included.
func (a *attempt[T]) elapsed() time.Duration { return a.spent + time.Since(a.began) }

// result is what came of a call of a handler, or of a wait.
type result[T any] struct {
	Outcome[T]
	err   error
	final bool // no further attempt can repair it
}

func failed[T any](err error) result[T] { return result[T]{err: err, final: IsPermanent(err)} }

func (r result[T]) waits() bool { return r.err == nil && r.verdict == verdictAgain }

// answer is the result as the transitions take it.
func (r result[T]) answer(jobID string) answer {
	switch {
	case errors.Is(r.err, ErrStopping):
		return answer{verdict: verdictStopped}
	case r.err != nil:
		return answer{verdict: verdictFailed, failure: describe(r.err, r.final, jobID)}
	case r.verdict == verdictOperator:
		return answer{verdict: r.verdict, failure: &Failure{Message: clip(r.reason, maxText),
			Reason: reasonName(errorsv1.Reason_REASON_ACTION_REQUIRED), Hint: about(r.hint, jobID)}}
	}
	return answer{verdict: r.verdict, reason: r.reason, uncounted: r.uncounted}
}

// try waits and calls the handler until there is something to record. A wait that goes on for the
// same reason is not.
func (w *worker[T]) try(a *attempt[T]) result[T] {
	for {
		if err := w.pause(a); err != nil || a.backOff {
			return result[T]{err: err}
		}
		res := w.call(a)
		if !res.waits() || res.reason != a.waiting || res.commit != nil {
			return res
		}
		a.pause = w.poll(res.after)
	}
}

// poll is how long a wait may last before the handler is called again.
func (w *worker[T]) poll(after time.Duration) time.Duration {
	if after <= 0 || after > w.e.cfg.Poll {
		return w.e.cfg.Poll
	}
	return after
}

// pause makes the attempt's pause, but no longer than the step has time. Wake ends a wait, but not
// a back-off. The error is the reason why the pause was broken off.
func (w *worker[T]) pause(a *attempt[T]) error {
	if a.pause <= 0 {
		return nil
	}
	ctx, leave := w.enter(a)
	defer leave()
	wake := w.wake
	if a.backOff {
		wake = nil
	}
	timer := time.NewTimer(min(a.pause, a.limits.Timeout-a.elapsed()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-wake:
	case <-timer.C:
	}
	return nil
}

var errTimeout = errors.New("the attempt took too long")

// call runs the handler once, within the limits of attempt and step.
func (w *worker[T]) call(a *attempt[T]) result[T] {
	left := a.limits.Timeout - a.elapsed()
	if left <= 0 {
		return w.overdue(a)
	}
	ctx, leave := w.enter(a)
	defer leave()
	if ctx.Err() != nil {
		return result[T]{err: context.Cause(ctx)}
	}
	budget := min(left, a.limits.AttemptTimeout)
	ctx = w.e.cfg.Observer.Enter(ctx, w.id, &a.step)
	ctx, cancel := context.WithTimeoutCause(ctx, budget, errTimeout)
	defer cancel()

	kind := a.step.Kind
	w.e.cfg.Hook(BeforeEffect, w.id, kind)
	outcome, err := w.guarded(ctx, a.limits.Handler, w.newRun(a))
	w.e.cfg.Hook(AfterEffect, w.id, kind)
	return judge(ctx, outcome, err, budget)
}

// judge tells a handler's own error from one that the engine caused by ending its context.
func judge[T any](ctx context.Context, outcome Outcome[T], err error,
	budget time.Duration) result[T] {
	switch cause := context.Cause(ctx); {
	case err == nil && outcome.verdict == 0:
		return failed[T](Permanent(errors.New(
			"the step's handler answered with neither an outcome nor an error")))
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

// overdue is the failure of a step that used up its time.
func (w *worker[T]) overdue(a *attempt[T]) result[T] {
	why := a.waiting
	if f := a.step.Failure; why == "" && f != nil {
		why = f.Message
	}
	return failed[T](Permanent(overdue(a.limits.Timeout, or(why, "no attempt came to an end"))))
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

func (w *worker[T]) newRun(a *attempt[T]) *Run {
	j, s := &a.job, &a.step
	return &Run{
		JobID: j.ID, JobKind: j.Kind, Args: j.Args,
		Step: s.Kind, Attempt: s.Attempts, Generation: s.Generation,
		EffectKey: effectKey(j.ID, s.Kind, s.Generation), Epoch: w.epoch, Owner: w.e.cfg.Owner,
		Unwinding: j.Mode == Unwind, Alone: j.Mode == Solo, LeftOut: j.leftOut(),
		TakenOver: w.since, report: a.report,
		values: w.values, hold: w.hold, prove: w.prove,
	}
}
