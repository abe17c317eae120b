package job

import (
	"context"
	"time"
)

// turn is one attempt that is to be made, or made again after a wait.
type turn struct {
	job  Job // as it was when the turn began
	step Step
	told *live

	began time.Time     // by the monotonic clock
	spent time.Duration // on the step before this turn

	pause   time.Duration // to wait before the handler is called
	waiting string        // why, as far as it is recorded
	renew   bool          // after the pause a new attempt is to be opened
}

// newTurn is the first call of an attempt that was just opened.
func (w *worker[T]) newTurn(j *Job, seq int) *turn {
	s := j.Steps[seq]
	return &turn{
		job: j.clone(), step: s, began: time.Now(), spent: s.Spent,
		told: &live{seq: seq, attempt: s.Attempts, changed: func() { w.e.published(w.id) }},
	}
}

// elapsed is the time spent on the step, waits included.
func (t *turn) elapsed() time.Duration { return t.spent + time.Since(t.began) }

// landed reports whether the turn's outcome is recorded already: its transaction was committed and
// only the answer was lost.
func (t *turn) landed(j *Job) bool {
	s := &j.Steps[t.step.Seq]
	return !s.State.open() || s.Attempts != t.step.Attempts
}

// poll is how long a wait may last before the handler looks again.
func (w *worker[T]) poll(after time.Duration) time.Duration {
	if after <= 0 || after > w.e.cfg.Poll {
		return w.e.cfg.Poll
	}
	return after
}

// sleep makes the turn's pause, but no longer than the step has time. A wait is ended by Wake, a
// back-off is not. The error is the reason why it was broken off.
func (w *worker[T]) sleep(t *turn, limits PlanStep[T]) error {
	if t.pause <= 0 {
		return nil
	}
	ctx, leave := w.enter(t)
	defer leave()
	wake := w.wake
	if t.renew {
		wake = nil
	}
	timer := time.NewTimer(min(t.pause, limits.Timeout-t.elapsed()))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-wake:
	case <-timer.C:
	}
	return nil
}
