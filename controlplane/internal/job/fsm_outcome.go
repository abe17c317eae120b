package job

import "fmt"

// answer is what came of a call of a handler.
type answer struct {
	verdict   verdict
	reason    string
	uncounted bool     // of verdictBack: it is no start of the section
	failure   *Failure // of verdictFailed and verdictOperator
}

// sequel is what follows for the step's worker.
type sequel int

const (
	proceeds sequel = iota // to whatever is next
	polls                  // the handler, after a while, in the same attempt
	backsOff               // and then opens a new attempt
)

// conclude changes the rows by an answer. A step that a cancel stopped does not go on, unless it is
// done.
func (m *fsm) conclude(s *Step, a answer, attempts, starts int) sequel {
	m.touch(s.Seq)
	caught := m.job.Mode == Unwind && !s.Always
	switch {
	case a.verdict == verdictStopped:
		m.stopStep(s)
	case a.verdict == verdictDone:
		m.succeed(s)
	case a.verdict == verdictNotNeeded:
		m.notNeeded(s, a.reason)
	case caught:
		m.cancelStep(s)
	case a.verdict == verdictAgain:
		m.await(s, a.reason)
		return polls
	case a.verdict == verdictOperator:
		m.requireAction(s, a.failure)
	case a.verdict == verdictBack:
		m.back(s, a, starts)
	case m.fail(s, a.failure, attempts):
		return backsOff
	}
	return proceeds
}

// finish closes the step for good.
func (m *fsm) finish(s *Step, state StepState, attempt AttemptState, reason string,
	failure *Failure) {
	m.touch(s.Seq)
	s.State, s.Reason, s.Failure, s.Finished = state, reason, failure, m.now
	m.closeAttempt(s, attempt, failure)
}

func (m *fsm) succeed(s *Step) { m.finish(s, StepSucceeded, AttemptDone, "", nil) }

func (m *fsm) notNeeded(s *Step, reason string) {
	m.finish(s, StepSkipped, AttemptDone, clip(reason, maxText), nil)
}

// await records what the step waits for; the attempt stays open.
func (m *fsm) await(s *Step, reason string) {
	m.touch(s.Seq)
	s.State, s.Reason = StepWaiting, clip(reason, maxText)
	m.setState(Waiting, s.Kind+": "+s.Reason)
}

// fail ends an attempt with an error. It reports whether there is to be another.
func (m *fsm) fail(s *Step, f *Failure, limit int) bool {
	s.Failures++
	if !f.Permanent && s.Failures < limit {
		m.touch(s.Seq)
		m.closeAttempt(s, AttemptFailed, f)
		s.State, s.Failure = StepWaiting, f
		s.Reason = fmt.Sprintf("attempt %d of %d failed: %s", s.Failures, limit, f.Message)
		m.setState(Waiting, s.Kind+": "+s.Reason)
		return true
	}
	m.finish(s, StepFailed, AttemptFailed, "", f)
	m.giveUp(Failed, s, f.Message)
	return false
}

// requireAction parks the step.
func (m *fsm) requireAction(s *Step, question *Failure) {
	m.finish(s, StepActionRequired, AttemptParked, question.Message, question)
	m.giveUp(ActionRequired, s, question.Message)
}

// giveUp sends the job on its way to failed or action_required because of s.
func (m *fsm) giveUp(target State, s *Step, why string) {
	j := m.job
	from, to := j.span(s.Seq)
	switch {
	case j.Mode == Unwind: // an always-step: the others still have their turn
		j.Reason += fmt.Sprintf("; %s failed: %s", s.Kind, why)
		return
	case j.Mode == Cleanup, target == ActionRequired && s.Section == "":
		from, to = 0, -1
	case j.Mode == Solo:
		from, to = j.From, j.To
	case target == Failed:
		from, to = 0, j.lastMain()
	}
	m.unwind(target, s.Kind+": "+why, from, to)
}

// back starts the step's section over.
func (m *fsm) back(s *Step, a answer, limit int) {
	if s.Section == "" {
		m.fail(s, &Failure{Message: fmt.Sprintf("step %s is in no section to start over: %s",
			s.Kind, a.reason), Permanent: true}, 1)
		return
	}
	first, last := m.job.span(s.Seq)
	restarts := m.job.Steps[first].Restarts
	if !a.uncounted {
		restarts++
	}
	if !a.uncounted && restarts >= limit {
		m.fail(s, &Failure{Message: fmt.Sprintf("section %s was started %d times: %s", s.Section,
			restarts, a.reason), Permanent: true}, 1)
		return
	}
	m.closeAttempt(s, AttemptBack, &Failure{Message: clip(a.reason, maxText)})
	for i := first; i <= last; i++ {
		if m.job.Steps[i].begun() {
			m.reset(i, true)
		}
	}
	m.touch(first).Restarts = restarts
}

// stopStep records that the process was stopped in good order: no attempt is counted, and any
// process may go on at once.
func (m *fsm) stopStep(s *Step) {
	m.touch(s.Seq)
	m.closeAttempt(s, AttemptStopped, nil)
	s.State, s.Reason = StepWaiting, "the control plane was stopped"
	m.release()
}

// release gives the job back to whoever takes it next.
func (m *fsm) release() {
	m.setState(Queued, "")
	m.job.Owner = ""
}

// cancelStep records that the handler was stopped by a cancel.
func (m *fsm) cancelStep(s *Step) {
	m.finish(s, StepCancelled, AttemptCancelled, "cancelled", nil)
}
