package job

import (
	"slices"
	"time"
)

// fsm changes a job's rows by the rules, in memory, and remembers what it touched. All
// transitions of jobs and steps are here and in its other files; it does no I/O, so that a table
// can pin every one of them.
type fsm struct {
	job     *Job
	now     time.Time
	touched map[int]bool
	opened  []Attempt
	closed  []Attempt
	events  []Event
	// deletions are the steps that delete data and are to run once more.
	deletions []Step
}

func newFSM(j *Job, now time.Time) *fsm {
	return &fsm{job: j, now: now, touched: map[int]bool{}}
}

// steps returns the touched rows.
func (m *fsm) steps() []Step {
	var rows []Step
	for i := range m.job.Steps {
		if m.touched[i] {
			rows = append(rows, m.job.Steps[i])
		}
	}
	return rows
}

func (m *fsm) touch(seq int) *Step {
	m.touched[seq] = true
	return &m.job.Steps[seq]
}

func (m *fsm) event(step, who, kind, message string) {
	m.events = append(m.events, Event{JobID: m.job.ID, Step: step, At: m.now, Who: who, Kind: kind,
		Message: message})
}

// proceed begins the step that is next, or ends the job and returns nil.
func (m *fsm) proceed() *Step {
	if m.job.Mode == Unwind {
		m.cancelOpen()
	}
	if seq, ok := m.job.next(); ok {
		return m.begin(seq)
	}
	m.end()
	return nil
}

// cancelOpen closes steps that an unwinding job will not go on with.
func (m *fsm) cancelOpen() {
	for i := range m.job.Steps {
		if s := &m.job.Steps[i]; s.State.open() && !s.Always {
			m.cancelStep(s)
		}
	}
}

// begin opens a new attempt. An attempt that is still open was lost with its process.
func (m *fsm) begin(seq int) *Step {
	s := m.touch(seq)
	if s.State.open() {
		m.closeAttempt(s, AttemptLost, nil)
	}
	s.State, s.Reason = StepRunning, ""
	s.Attempts++
	report{}.write(s)
	if !s.begun() {
		s.Started = m.now
	}
	s.Finished = time.Time{}
	if m.job.Started.IsZero() {
		m.job.Started = m.now
	}
	m.setState(Running, "")
	m.opened = append(m.opened, Attempt{
		JobID: m.job.ID, Seq: seq, Number: s.Attempts, Generation: s.Generation, Epoch: m.job.Epoch,
		Owner: m.job.Owner,
		State: AttemptOpen, Started: m.now,
	})
	return s
}

// setState moves the job while it is active; a job that is being cancelled, or failing, keeps
// saying so.
func (m *fsm) setState(to State, reason string) {
	if m.job.State == Cancelling {
		return
	}
	m.job.State = to
	if m.job.Mode != Unwind {
		m.job.Reason = reason
	}
}

func (m *fsm) closeAttempt(s *Step, state AttemptState, failure *Failure) {
	m.closed = append(m.closed, Attempt{
		JobID: m.job.ID, Seq: s.Seq, Number: s.Attempts, State: state, Found: s.Found,
		Changed: s.Changed, Failure: failure,
		Finished: m.now,
	})
}

// end gives the job the state that its mode leads to, and releases it.
func (m *fsm) end() {
	j := m.job
	switch j.Mode {
	case Unwind:
		m.endUnwind()
	case Solo:
		m.endSolo()
	case Cleanup:
		j.State, j.Cleaned, j.Reason = j.Return, true, "what the job made was removed"
	default:
		j.State, j.Reason = Succeeded, ""
	}
	j.Mode, j.Owner = Forward, ""
	if j.State.Ended() {
		j.Finished = m.now
	}
	m.event("", "controlplane", "job."+string(j.State), j.Reason)
}

func (m *fsm) endUnwind() {
	j := m.job
	j.State = j.Target
	if j.Target != Cancelled {
		return
	}
	for i := range j.Steps {
		s := &j.Steps[i]
		switch unreleased := s.Always && j.within(s); {
		case unreleased && s.State == StepFailed:
			j.State, j.Reason = Failed, "cancelled, but "+s.Kind+" failed: "+s.Failure.Message
		case unreleased && s.State == StepActionRequired:
			j.State, j.Reason = Failed, "cancelled, but "+s.Kind+" needs an operator: "+s.Reason
		case s.Phase == MainPhase && s.State == StepPending, j.within(s) &&
			s.State == StepActionRequired:
			m.touch(i).State, s.Failure = StepCancelled, nil
		}
	}
}

func (m *fsm) endSolo() {
	j := m.job
	j.State, j.Reason = Succeeded, ""
	for i := range j.Steps {
		if s := &j.Steps[i]; s.Phase == MainPhase && !s.State.Done() {
			j.State, j.Reason = j.Return, "step "+s.Kind+" is not done; retry goes on from there"
			return
		}
	}
}

// unwind makes the job run its always-steps on its way to target.
func (m *fsm) unwind(target State, reason string, from, to int) {
	j := m.job
	j.Reason, j.Target, j.Mode = reason, target, Unwind
	j.From, j.To = from, to
}

// owe makes the always-steps due that settle what the job as a whole did, as its request alone
// changed something.
func (m *fsm) owe() {
	for i := range m.job.Steps {
		s := &m.job.Steps[i]
		if s.Always && s.Section == "" && s.State == StepPending && !s.begun() {
			m.touch(i).Started = m.now
		}
	}
}

// reset makes a step pending; renew gives it a new generation, so a new effect key.
func (m *fsm) reset(seq int, renew bool) {
	s := m.touch(seq)
	if renew && s.Phase == MainPhase {
		m.deletes(s)
	}
	if !s.owed() {
		s.Started = time.Time{}
	}
	s.State, s.Reason, s.Failure = StepPending, "", nil
	s.Failures, s.Spent = 0, 0
	s.Finished = time.Time{}
	report{}.write(s)
	if renew {
		s.Generation++
	}
}

// deletes notes that the step is to delete data once more.
func (m *fsm) deletes(s *Step) {
	known := slices.ContainsFunc(m.deletions, func(d Step) bool { return d.Seq == s.Seq })
	if s.DeletesData && !known {
		m.deletions = append(m.deletions, *s)
	}
}
