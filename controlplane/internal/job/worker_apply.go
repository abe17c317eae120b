package job

import (
	"errors"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// apply changes the rows by what came of a turn. When the step goes on waiting it returns the turn
// to go on with.
func (w *worker[T]) apply(m *fsm, t *turn, res result[T],
	limits PlanStep[T]) (next *turn, waits bool) {
	s := m.touch(t.step.Seq)
	s.Spent = t.elapsed()
	if t.renew && res.err == nil { // the back-off is over
		return nil, false
	}
	t.told.now().write(s)
	switch m.take(s, res.answer(), limits.Attempts, w.plan.sectionAttempts(s.Section)) {
	case goesOn:
		return nil, false
	case asksAgain:
		again := *t
		again.waiting, again.pause = res.reason, w.poll(res.after)
		return &again, true
	}
	again := w.newTurn(m.job, s.Seq)
	again.told = t.told
	again.renew, again.pause = true, limits.Backoff.delay(s.Failures, w.e.cfg.Random())
	return again, true
}

// answer is the result as the rules see it.
func (r result[T]) answer() answer {
	switch {
	case r.err == nil && r.verdict == verdictOperator:
		return answer{verdict: r.verdict, failure: &Failure{Message: clip(r.reason, maxText),
			Reason: reasonName(errorsv1.Reason_REASON_ACTION_REQUIRED), Hint: r.hint}}
	case r.err == nil:
		return answer{verdict: r.verdict, reason: r.reason}
	case errors.Is(r.err, ErrStopping):
		return answer{verdict: verdictStopped}
	}
	return answer{verdict: verdictFailed, failure: describe(r.err, r.final)}
}
