package job

import "time"

// Requests of people. Each either changes the job or refuses without having changed anything.

func (m *machine) retry() error {
	j := m.job
	if err := m.mustRest(); err != nil {
		return err
	}
	if j.State == Succeeded {
		return refuse(ErrNotAllowed, "nothing is left to do: to prove a step again name it "+
			"(`understudy job retry JOB --step STEP`)", "job %s has succeeded", j.ID)
	}
	if m.cleaningUp() {
		return refuse(ErrNotAllowed, "ask for the same anew: that makes a new job",
			"what job %s made is being removed or was", j.ID)
	}
	blocker := m.blocker()
	if blocker < 0 { // the always-steps that ended the job may have undone what its last step did
		if blocker = m.lastOwn(); blocker >= 0 {
			m.reset(blocker, false)
		}
	}
	if blocker < 0 {
		return refuse(ErrNotAllowed, "nothing is left to do: to prove a step again name it "+
			"(`understudy job retry JOB --step STEP`)", "job %s has no step left to do", j.ID)
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

// lastOwn is the last step that is the job's own, neither an always-step nor skipped by a person;
// or -1.
func (m *machine) lastOwn() int {
	last := -1
	for i := range m.job.Steps {
		if s := &m.job.Steps[i]; s.Phase == MainPhase && !s.Always && !s.skippedByPerson() {
			last = i
		}
	}
	return last
}

// resume makes the job go on from a step. A section is started over; the always-steps that an
// unwinding ran are to be run again.
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

// skippedByPerson tells a skip from a handler's own finding that there was nothing to do, which
// holds for that time only.
func (s *Step) skippedByPerson() bool { return s.State == StepSkipped && !s.begun() }

func (j *Job) leftOut() (kinds []string) {
	for i := range j.Steps {
		if j.Steps[i].skippedByPerson() {
			kinds = append(kinds, j.Steps[i].Kind)
		}
	}
	return kinds
}

// restart puts the job back to work.
func (m *machine) restart(mode Mode) {
	j := m.job
	j.Mode, j.State, j.Reason = mode, Queued, ""
	j.Finished = time.Time{}
}

func (m *machine) retryStep(kind string) error {
	j := m.job
	if err := m.mustRest(); err != nil {
		return err
	}
	seq := m.find(kind)
	if seq < 0 || j.Steps[seq].Phase != MainPhase {
		return m.noStep(kind)
	}
	if m.cleaningUp() {
		return refuse(ErrNotAllowed, "ask for the same anew: that makes a new job",
			"what job %s made is being removed or was", j.ID)
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
	if err := m.mustRest(); err != nil {
		return err
	}
	seq := m.find(kind)
	if seq < 0 || j.Steps[seq].Phase != MainPhase {
		return m.noStep(kind)
	}
	first, _ := m.span(seq)
	if m.cleaningUp() && first > 0 {
		return refuse(ErrNotAllowed,
			"redo from its first step, or ask for the same anew, which makes a new job",
			"what job %s made is being removed or was", j.ID)
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
		return refuse(ErrInvalid, "say why (--reason)", "a reason is needed")
	}
	seq := m.find(kind)
	if seq < 0 {
		return m.noStep(kind)
	}
	s := &j.Steps[seq]
	switch {
	case s.State.Done():
		return refuse(ErrNotAllowed, "there is nothing to skip: the job goes on without it; to "+
			"have it done anew, `understudy job redo JOB STEP --reason …` once the job has ended",
			"step %s of job %s is %s", kind, j.ID, s.State)
	case s.Always && s.State != StepFailed && s.State != StepNeedsPerson:
		return refuse(ErrNotAllowed, "let it run; it can be skipped once it has failed",
			"step %s of job %s releases what others hold", kind, j.ID)
	case s.State.open() || j.State == Cancelling || j.State.Active() && j.Mode != Forward:
		return refuse(ErrNotAllowed, "wait until it has failed or is done, or cancel the job "+
			"(`understudy job cancel JOB`)", "step %s of job %s is being worked on", kind, j.ID)
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

// cancel stops the job; leaves says whether its kind leaves anything to clean up.
func (m *machine) cancel(leaves bool) error {
	j := m.job
	switch {
	case j.State == Cancelled || j.State == Cancelling:
		return nil
	case j.State == Succeeded || j.State == Failed:
		return refuse(ErrNotAllowed, afterEnd(j.State, leaves), "job %s has %s already", j.ID,
			j.State)
	case j.Mode == Cleanup:
		return refuse(ErrNotAllowed, "let the cleanup end: it stops nobody else, and it can be "+
			"asked for again if it fails", "job %s is being cleaned up", j.ID)
	case j.Mode == Unwind && j.Target == Failed:
		return refuse(ErrNotAllowed,
			"wait for its end, which is soon: then retry it or clean it up",
			"job %s is failing: it releases what it holds", j.ID)
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

// afterEnd is what can be asked of a job that has ended.
func afterEnd(state State, leaves bool) string {
	switch {
	case state == Succeeded:
		return "nothing is left to stop; delete what it made if it is not wanted (`understudy " +
			"server delete`, `understudy snapshot delete`)"
	case leaves:
		return "nothing is left to stop: retry it (`understudy job retry JOB`), or remove what " +
			"it made (`understudy job cleanup JOB`)"
	default:
		return "nothing is left to stop, and it left nothing behind; `understudy job retry JOB` " +
			"goes on where it failed"
	}
}

func (m *machine) cleanup(rows func(from int) []Step) error {
	j := m.job
	if err := m.mustRest(); err != nil {
		return err
	}
	if j.State == Succeeded {
		return refuse(ErrNotAllowed, "delete what it made instead (`understudy server delete`, "+
			"`understudy snapshot delete`)", "job %s has succeeded", j.ID)
	}
	again := m.cleaningUp()
	if !m.hasCleanup() {
		added := rows(len(j.Steps))
		if len(added) == 0 {
			return refuse(ErrNotAllowed,
				"retry it (`understudy job retry JOB`): it goes on at the step that failed",
				"jobs of kind %s leave nothing to clean up", j.Kind)
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

func (m *machine) mustRest() error {
	j := m.job
	if j.State.Active() {
		return refuse(ErrNotAllowed,
			"wait for its end, or cancel it first (`understudy job cancel JOB`)", "it is %s",
			j.State)
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
