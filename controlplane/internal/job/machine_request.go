package job

import "time"

// Requests of people. Each either changes the job or refuses without having changed anything.

func (m *machine) retry() error {
	j := m.job
	if err := m.mustRest("retry"); err != nil {
		return err
	}
	if j.State == Succeeded {
		return refuse(ErrNotAllowed, "retry one of its steps, or redo from one", "job %s has succeeded", j.ID)
	}
	if m.cleaningUp() {
		return refuse(ErrNotAllowed, "make a new job", "what job %s made is being removed or was", j.ID)
	}
	blocker := m.blocker()
	if blocker < 0 {
		return refuse(ErrNotAllowed, "retry one of its steps", "job %s has no step left to do", j.ID)
	}
	m.resume(blocker)
	return nil
}

// blocker is the first step that keeps the job from having succeeded, or -1.
func (m *machine) blocker() int {
	for i := range m.job.Steps {
		if s := &m.job.Steps[i]; s.Phase == MainPhase && !s.State.Done() {
			return i
		}
	}
	return -1
}

// resume makes the job go on from a step. A section is started over; the always-steps that an unwinding ran are to be run again.
func (m *machine) resume(from int) {
	first, last := m.span(from)
	inSection := m.job.Steps[from].Section != ""
	for i := range m.job.Steps {
		s := &m.job.Steps[i]
		switch {
		case s.Phase != MainPhase || i < first || s.skippedByPerson() && !s.Always:
		case inSection && i <= last:
			m.reset(i, s.begun())
		case s.Always || !s.State.Done():
			m.reset(i, false)
		}
	}
	m.touch(first).Restarts = 0
	m.restart(Forward)
}

// skippedByPerson tells a skip from a handler's own finding that there was nothing to do, which holds for that time only.
func (s *Step) skippedByPerson() bool { return s.State == StepSkipped && !s.begun() }

// restart puts the job back to work.
func (m *machine) restart(mode Mode) {
	j := m.job
	j.Mode, j.State, j.Reason = mode, Queued, ""
	j.Finished = time.Time{}
}

func (m *machine) retryStep(kind string) error {
	j := m.job
	if err := m.mustRest("retry a step of"); err != nil {
		return err
	}
	seq := m.find(kind)
	if seq < 0 || j.Steps[seq].Phase != MainPhase {
		return m.noStep(kind)
	}
	if m.cleaningUp() {
		return refuse(ErrNotAllowed, "make a new job", "what job %s made is being removed or was", j.ID)
	}
	from, to := m.span(seq)
	whole := true
	for i := from; i <= to; i++ {
		whole = whole && j.Steps[i].State.Done()
	}
	for i := from; i <= to; i++ {
		m.reset(i, !whole && j.Steps[i].Section != "" && j.Steps[i].begun())
	}
	m.touch(from).Restarts = 0
	j.Return, j.From, j.To = j.State, from, to
	m.restart(Solo)
	return nil
}

func (m *machine) redo(kind string) error {
	j := m.job
	if err := m.mustRest("redo a step of"); err != nil {
		return err
	}
	seq := m.find(kind)
	if seq < 0 || j.Steps[seq].Phase != MainPhase {
		return m.noStep(kind)
	}
	first, _ := m.span(seq)
	if m.cleaningUp() && first > 0 {
		return refuse(ErrNotAllowed, "redo from its first step, or make a new job", "what job %s made is being removed or was", j.ID)
	}
	if b := m.blocker(); b >= 0 && b < first { // what was not done before it is caught up on
		m.resume(b)
	}
	for i := range j.Steps {
		s := &j.Steps[i]
		if i >= first && s.Phase == MainPhase || s.begun() && s.Phase == CleanupPhase {
			m.reset(i, s.Attempts > 0)
			s.Restarts = 0
		}
	}
	j.Cleaned = false
	m.restart(Forward)
	return nil
}

func (m *machine) skip(kind, reason string) error {
	j := m.job
	if reason == "" {
		return refuse(ErrInvalid, "say why", "a reason is needed to skip step %s of job %s", kind, j.ID)
	}
	seq := m.find(kind)
	if seq < 0 {
		return m.noStep(kind)
	}
	s := &j.Steps[seq]
	switch {
	case s.State.Done():
		return refuse(ErrNotAllowed, "", "step %s of job %s is %s", kind, j.ID, s.State)
	case s.Always && s.State != StepFailed && s.State != StepNeedsPerson:
		return refuse(ErrNotAllowed, "skip it once it has failed", "step %s of job %s releases what others hold", kind, j.ID)
	case s.State.open() || j.State == Cancelling || j.State.Active() && j.Mode != Forward:
		return refuse(ErrNotAllowed, "wait for it, or cancel the job first", "step %s of job %s is being worked on", kind, j.ID)
	}
	blocking := !j.State.Active() && s.Phase == MainPhase && m.blocker() == seq && !m.cleaningUp()
	m.touch(seq)
	s.State, s.Reason, s.Failure = StepSkipped, clip(reason, maxText), nil
	s.Started, s.Finished = time.Time{}, m.now // no start: see skippedByPerson
	if blocking && j.State != Cancelled {
		m.goOn()
	}
	return nil
}

// goOn resumes after a skip.
func (m *machine) goOn() {
	if next := m.blocker(); next >= 0 {
		m.resume(next)
		return
	}
	m.restart(Forward)
}

func (m *machine) cancel() error {
	j := m.job
	switch {
	case j.State == Cancelled || j.State == Cancelling:
		return nil
	case j.State == Succeeded || j.State == Failed:
		return refuse(ErrNotAllowed, "clean it up instead, or leave it", "job %s has %s", j.ID, j.State)
	case j.Mode == Cleanup:
		return refuse(ErrNotAllowed, "wait for its end", "job %s is being cleaned up", j.ID)
	case j.Mode == Unwind && j.Target == Failed:
		return refuse(ErrNotAllowed, "wait for its end", "job %s is failing: it releases what it holds", j.ID)
	}
	from, to := 0, m.lastMain()
	if j.Mode == Solo {
		from, to = j.From, j.To
	}
	j.State = Cancelling
	m.unwind(Cancelled, "cancelled", from, to)
	if j.Owner != "" {
		return nil // its worker stops the handler and ends the job
	}
	m.cancelOpen()
	if _, due := m.next(); !due {
		m.end()
	}
	return nil
}

func (m *machine) cleanup(rows func(from int) []Step) error {
	j := m.job
	if err := m.mustRest("clean up"); err != nil {
		return err
	}
	if j.State == Succeeded {
		return refuse(ErrNotAllowed, "delete what it made instead", "job %s has succeeded", j.ID)
	}
	again := m.cleaningUp()
	if !m.hasCleanup() {
		added := rows(len(j.Steps))
		if len(added) == 0 {
			return refuse(ErrNotAllowed, "", "jobs of kind %s leave nothing to clean up", j.Kind)
		}
		j.Steps = append(j.Steps, added...)
	}
	for i := range j.Steps {
		if s := &j.Steps[i]; s.Phase == CleanupPhase && s.State != StepSkipped {
			m.reset(i, false)
		}
	}
	if !again {
		j.Return = j.State
	}
	if j.State == NeedsPerson {
		j.Return = Cancelled
	}
	j.Cleaned = false
	m.restart(Cleanup)
	return nil
}

func (m *machine) hasCleanup() bool {
	return len(m.job.Steps) > m.lastMain()+1
}

// cleaningUp reports whether a cleanup has begun to remove what the job made.
func (m *machine) cleaningUp() bool {
	for i := range m.job.Steps {
		if s := &m.job.Steps[i]; s.Phase == CleanupPhase && s.begun() {
			return true
		}
	}
	return m.job.Cleaned
}

func (m *machine) mustRest(what string) error {
	j := m.job
	if j.State.Active() {
		return refuse(ErrNotAllowed, "wait for its end, or cancel it first", "cannot %s job %s while it is %s", what, j.ID, j.State)
	}
	return nil
}

func (m *machine) noStep(kind string) error {
	var kinds string
	for _, s := range m.job.Steps {
		kinds += " " + s.Kind
	}
	return refuse(ErrNotFound, "its steps are"+kinds, "job %s has no step %q", m.job.ID, kind)
}
