package job

import "fmt"

// answer is what came of a call of a handler.
type answer struct {
	verdict verdict
	reason  string
	to      string   // of verdictBack
	failure *Failure // of verdictFailed
}

// sequel is what follows for the step's worker.
type sequel int

const (
	goesOn    sequel = iota // to whatever is next
	asksAgain               // the handler, after a while, in the same attempt
	backsOff                // and then opens a new attempt
)

// take changes the rows by an answer. A step that a cancel caught is not gone on with, unless it
// got done all the same.
func (m *machine) take(s *Step, a answer, attempts, starts int) sequel {
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
		return asksAgain
	case a.verdict == verdictPerson:
		m.needPerson(s, a.reason)
	case a.verdict == verdictBack:
		m.back(s, a.to, a.reason, starts)
	case m.fail(s, a.failure, attempts):
		return backsOff
	}
	return goesOn
}

// finish closes the step for good.
func (m *machine) finish(s *Step, state StepState, attempt AttemptState, reason string,
	failure *Failure) {
	m.touch(s.Seq)
	s.State, s.Reason, s.Failure, s.Finished = state, reason, failure, m.now
	m.closeAttempt(s, attempt, failure)
}

func (m *machine) succeed(s *Step) { m.finish(s, StepSucceeded, AttemptDone, "", nil) }

func (m *machine) notNeeded(s *Step, reason string) {
	m.finish(s, StepSkipped, AttemptDone, clip(reason, maxText), nil)
}

// await records what the step waits for; the attempt stays open.
func (m *machine) await(s *Step, reason string) {
	m.touch(s.Seq)
	s.State, s.Reason = StepWaiting, clip(reason, maxText)
	m.setState(Waiting, s.Kind+": "+s.Reason)
}

// fail ends an attempt with an error. It reports whether there is to be another.
func (m *machine) fail(s *Step, f *Failure, limit int) bool {
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

// needPerson parks the step.
func (m *machine) needPerson(s *Step, reason string) {
	reason = clip(reason, maxText)
	m.finish(s, StepNeedsPerson, AttemptParked, reason, nil)
	m.giveUp(NeedsPerson, s, reason)
}

// giveUp sends the job on its way to failed or needs_person because of s.
func (m *machine) giveUp(target State, s *Step, why string) {
	j := m.job
	from, to := m.span(s.Seq)
	switch {
	case j.Mode == Unwind: // an always-step: the others still have their turn
		j.Reason += fmt.Sprintf("; %s failed: %s", s.Kind, why)
		return
	case j.Mode == Cleanup, target == NeedsPerson && s.Section == "":
		from, to = 0, -1
	case j.Mode == Solo:
		from, to = j.From, j.To
	case target == Failed:
		from, to = 0, m.lastMain()
	}
	m.unwind(target, s.Kind+": "+why, from, to)
}

// back starts the step's section over from the step named to.
func (m *machine) back(s *Step, to, reason string, limit int) {
	first, last := m.span(s.Seq)
	target := first
	if to != "" {
		target = m.find(to)
	}
	if s.Section == "" || target < first || target > s.Seq {
		m.fail(
			s, &Failure{Message: fmt.Sprintf(
				"cannot go back from %s to %q: not in its section (%s)", s.Kind, to, reason),
				Permanent: true}, 1)
		return
	}
	restarts := m.job.Steps[first].Restarts + 1
	if restarts >= limit {
		m.fail(s, &Failure{Message: fmt.Sprintf("section %s was started %d times: %s", s.Section,
			restarts, reason), Permanent: true}, 1)
		return
	}
	m.closeAttempt(s, AttemptBack, &Failure{Message: clip(reason, maxText)})
	for i := target; i <= last; i++ {
		if m.job.Steps[i].begun() {
			m.reset(i, true)
		}
	}
	m.touch(first).Restarts = restarts
}

// stopStep records that the process was stopped in good order: no attempt is counted, and any
// process may go on at once.
func (m *machine) stopStep(s *Step) {
	m.touch(s.Seq)
	m.closeAttempt(s, AttemptStopped, nil)
	s.State, s.Reason = StepWaiting, "the control plane was stopped"
	m.letGo()
}

// letGo gives the job back to whoever takes it next.
func (m *machine) letGo() {
	m.setState(Queued, "")
	m.job.Owner = ""
}

// cancelStep records that the handler was stopped by a cancel.
func (m *machine) cancelStep(s *Step) {
	m.finish(s, StepCancelled, AttemptCancelled, "cancelled", nil)
}

func (m *machine) find(kind string) int {
	for i := range m.job.Steps {
		if m.job.Steps[i].Kind == kind {
			return i
		}
	}
	return -1
}
