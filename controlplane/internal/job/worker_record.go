package job

import (
	"context"
	"errors"
	"time"
)

// commitError is an error of a handler's commit function.
type commitError struct{ err error }

func (c commitError) Error() string { return c.err.Error() }
func (c commitError) Unwrap() error { return c.err }

// record writes the outcome and, in the same transaction, begins the next step. It returns the next
// turn, or nil when the job was let go or lost.
func (w *worker[T]) record(t *turn, res result[T], limits PlanStep[T]) (*turn, error) {
	next, err := w.persist(t, res, limits)
	if broken := (commitError{}); errors.As(err, &broken) {
		next, err = w.persist(t, failed[T](broken.err), limits)
	}
	if err != nil {
		return nil, err
	}
	w.e.cfg.Hook(AfterCommit, w.id, t.step.Kind)
	return next, nil
}

// persist tries the transaction until it is through, the job is lost, or the process has no time
// left: an outcome that cannot be written now is not forgotten.
func (w *worker[T]) persist(t *turn, res result[T], limits PlanStep[T]) (*turn, error) {
	var stopSince time.Time
	for delay := 20 * time.Millisecond; ; delay = min(2*delay, w.e.cfg.Poll) {
		next, err := w.transact(t, res, limits)
		if err == nil || errors.Is(err, ErrFenced) || errors.As(err, new(commitError)) {
			return next, err
		}
		w.log.Warn("cannot record the outcome of a step yet", "step", t.step.Kind, "error", err)
		if w.isStopping() {
			stopSince = or(stopSince, time.Now())
			if time.Since(stopSince) > w.e.cfg.Limit {
				return nil, err
			}
		}
		if !w.rest(delay) {
			return nil, context.Cause(w.hold)
		}
	}
}

func (w *worker[T]) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.hold.Done():
		return false
	case <-timer.C:
		return true
	}
}

// transact applies an outcome to the rows as they are now, under the fence, and begins what is
// next.
func (w *worker[T]) transact(t *turn, res result[T], limits PlanStep[T]) (*turn, error) {
	var next *turn
	var after Job
	err := w.e.store.Write(w.hold, func(ctx context.Context, tx T) error {
		records := w.e.store.Jobs(tx)
		m, err := w.fenced(ctx, records)
		if err != nil {
			return err
		}
		if next, err = w.advance(ctx, tx, m, t, res, limits); err != nil {
			return err
		}
		after = m.job.clone()
		return m.save(ctx, records)
	})
	if err != nil {
		return nil, err
	}
	w.settle(t, &after, next)
	return next, nil
}

// fenced proves and locks the hold on the job, and reads its rows.
func (w *worker[T]) fenced(ctx context.Context, records Records) (*fsm, error) {
	if err := records.Fence(ctx, w.id, w.e.cfg.Owner, w.epoch); err != nil {
		return nil, err
	}
	j, err := records.Get(ctx, w.id)
	if err != nil {
		return nil, err
	}
	return newFSM(&j, w.e.now()), nil
}

func (w *worker[T]) advance(ctx context.Context, tx T, m *fsm, t *turn, res result[T],
	limits PlanStep[T]) (*turn, error) {
	if !t.landed(m.job) {
		if res.commit != nil {
			if err := res.commit(ctx, tx); err != nil {
				return nil, asCommitError(err)
			}
		}
		if next, waits := w.apply(m, t, res, limits); waits {
			return next, nil
		}
	}
	if _, more := m.next(); more && w.isStopping() || m.job.Owner == "" {
		m.letGo()
		return nil, nil
	}
	if s := m.proceed(); s != nil {
		return w.newTurn(m.job, s.Seq), nil
	}
	return nil, nil
}

// asCommitError marks what is the handler's to answer for. A store that is out of reach is nobody's
// failed attempt.
func asCommitError(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return commitError{err}
}

// settle does what follows from a committed transaction.
func (w *worker[T]) settle(t *turn, after *Job, next *turn) {
	was := &after.Steps[t.step.Seq]
	w.logStep(t, was)
	// the section goes back: what it kept is of no use any more
	if was.Generation != t.step.Generation {
		w.warn(w.values.closeSection(t.step.Section))
	}
	if next != nil {
		w.warn(w.values.enter(next.step.Section))
	}
	if after.Owner == "" {
		w.log.Info("job let go", "state", string(after.State), "reason", after.Reason)
		w.warn(w.values.closeAll())
	}
	w.e.published(w.id)
	w.e.kickScan() // a commit function may have made a job
}

func (w *worker[T]) logStep(t *turn, s *Step) {
	args := []any{"step", s.Kind, "state", string(s.State), "attempt", t.step.Attempts,
		"generation", t.step.Generation, "took", t.elapsed()}
	if s.Reason != "" {
		args = append(args, "reason", s.Reason)
	}
	if s.Failure != nil {
		args = append(args, "error", s.Failure.Message)
	}
	w.log.Info("step", args...)
}

func (w *worker[T]) warn(err error) {
	if err != nil {
		w.log.Warn("cannot close what the job's steps kept", "error", err)
	}
}

// prove writes the job's row under the fence, and nothing else.
func (w *worker[T]) prove(ctx context.Context) error {
	return w.e.store.Write(ctx, func(ctx context.Context, tx T) error {
		return w.e.store.Jobs(tx).Fence(ctx, w.id, w.e.cfg.Owner, w.epoch)
	})
}
