package job

import "errors"

// apply changes the rows by what came of a turn. When the step goes on waiting it returns the turn to go on with.
func (w *worker[T]) apply(m *machine, t *turn, res result[T], limits PlanStep[T]) (next *turn, waits bool) {
	s := m.touch(t.step.Seq)
	s.Spent = t.elapsed()
	if t.renew && res.err == nil { // the back-off is over
		return nil, false
	}
	t.told.now().write(s)
	done := res.err == nil && (res.verdict == verdictDone || res.verdict == verdictNotNeeded)
	switch {
	case errors.Is(res.err, ErrStopping):
		m.stopStep(s)
	case m.job.Mode == Unwind && !s.Always && !done:
		m.cancelStep(s)
	case res.err != nil:
		return w.applyFailure(m, t, res, limits)
	default:
		return w.applyVerdict(m, t, res)
	}
	return nil, false
}

func (w *worker[T]) applyFailure(m *machine, t *turn, res result[T], limits PlanStep[T]) (*turn, bool) {
	s := m.touch(t.step.Seq)
	if !m.fail(s, describe(res.err, res.final), limits.Attempts) {
		return nil, false
	}
	again := w.newTurn(m.job, s.Seq)
	again.told = t.told
	again.renew, again.pause = true, limits.Backoff.delay(s.Failures, w.e.cfg.Random())
	return again, true
}

func (w *worker[T]) applyVerdict(m *machine, t *turn, res result[T]) (*turn, bool) {
	s := m.touch(t.step.Seq)
	switch res.verdict {
	case verdictDone:
		m.succeed(s)
	case verdictNotNeeded:
		m.notNeeded(s, res.reason)
	case verdictPerson:
		m.needPerson(s, res.reason)
	case verdictBack:
		m.back(s, res.to, res.reason, w.plan.sectionAttempts(s.Section))
	case verdictAgain:
		m.await(s, res.reason)
		again := *t
		again.waiting, again.pause = res.reason, w.poll(res.after)
		return &again, true
	}
	return nil, false
}
