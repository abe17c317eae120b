package job

import (
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Requests of operators. Each either changes the job or refuses without having changed anything.

func (m *fsm) retry() error {
	j := m.job
	if err := m.mustRest(); err != nil {
		return err
	}
	if j.State == Succeeded {
		return wrongState(errs.WithHint("name a step to run it again"),
			"job %s has succeeded", j.ID)
	}
	if j.cleaningUp() {
		return wrongState(errs.WithHint("create a new job"),
			"the cleanup of job %s has begun", j.ID)
	}
	blocker := j.blocker()
	if blocker < 0 { // the always-steps that ended the job may have undone what its last step did
		if blocker = j.lastOwn(); blocker >= 0 {
			m.reset(blocker, false)
		}
	}
	if blocker < 0 {
		return wrongState(errs.WithHint("name a step to run it again"),
			"job %s has no step left to do", j.ID)
	}
	m.resume(blocker)
	return nil
}

// resume makes the job go on from a step. A section is started over; the always-steps that an
// unwinding ran are to be run again.
func (m *fsm) resume(from int) {
	first, last := m.job.span(from)
	inSection := m.job.Steps[from].Section != ""
	for i := range m.job.Steps {
		s := &m.job.Steps[i]
		switch {
		case s.Phase != MainPhase || i < first || s.skippedByOperator() && !s.Always:
		case inSection && i <= last:
			m.reset(i, s.begun())
		case s.Always || !s.State.Done():
			m.reset(i, false)
		}
	}
	m.touch(first).Restarts = 0
	m.restart(Forward)
}

// restart puts the job back to work.
func (m *fsm) restart(mode Mode) {
	j := m.job
	j.Mode, j.State, j.Reason = mode, Queued, ""
	j.Finished = time.Time{}
}

// mainStep is where a step of the main phase is, of a job that rests.
func (m *fsm) mainStep(kind string) (seq int, err error) {
	if err := m.mustRest(); err != nil {
		return 0, err
	}
	if seq = m.job.find(kind); seq < 0 || m.job.Steps[seq].Phase != MainPhase {
		return 0, noStep(m.job, kind)
	}
	return seq, nil
}

func (m *fsm) retryStep(kind string) error {
	j := m.job
	seq, err := m.mainStep(kind)
	if err != nil {
		return err
	}
	if j.cleaningUp() {
		return wrongState(errs.WithHint("create a new job"),
			"the cleanup of job %s has begun", j.ID)
	}
	from, to := j.span(seq)
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

func (m *fsm) redo(kind string) error {
	j := m.job
	seq, err := m.mainStep(kind)
	if err != nil {
		return err
	}
	first, _ := j.span(seq)
	if j.cleaningUp() && first > 0 {
		return wrongState(errs.WithHint("redo the job from its first step, or create a new job",
			j.call("RedoStep", "step", j.Steps[0].Kind)),
			"the cleanup of job %s has begun", j.ID)
	}
	if b := j.blocker(); b >= 0 && b < first { // what was not done before it is caught up on
		m.resume(b)
	}
	for i := range j.Steps {
		s := &j.Steps[i]
		if s.Phase == MainPhase && i < first {
			continue
		}
		if s.Phase == MainPhase {
			m.deletes(s)
		}
		m.reset(i, s.Attempts > 0)
		s.Restarts = 0
	}
	j.Cleaned = false
	m.restart(Forward)
	return nil
}

func (m *fsm) skip(kind, reason string) error {
	j := m.job
	if reason == "" {
		return invalid("reason", "say why the step is not needed", "a reason is required")
	}
	seq := j.find(kind)
	if seq < 0 {
		return noStep(j, kind)
	}
	s := &j.Steps[seq]
	switch {
	case s.State.Done():
		return wrongState(errs.WithHint("redo the step to run it again once the job has ended",
			j.call("RedoStep", "step", kind)),
			"step %s of job %s is %s", kind, j.ID, s.State)
	case s.Always && s.State != StepFailed && s.State != StepActionRequired:
		return wrongState(errs.WithHint("wait until the step has failed"),
			"step %s of job %s releases what the job holds", kind, j.ID)
	case s.State.open() || j.State == Cancelling || j.State.Active() && j.Mode != Forward:
		return wrongState(errs.WithHint("wait for the step, or cancel the job",
			j.call("CancelJob")),
			"step %s of job %s is being worked on", kind, j.ID)
	}
	blocking := !j.State.Active() && s.Phase == MainPhase && j.blocker() == seq && !j.cleaningUp()
	m.touch(seq)
	s.State, s.Reason, s.Failure = StepSkipped, clip(reason, maxText), nil
	s.Started, s.Finished = time.Time{}, m.now // no start: see skippedByOperator
	if blocking && j.State != Cancelled {
		m.goOn()
	}
	return nil
}

// goOn resumes after a skip.
func (m *fsm) goOn() {
	if next := m.job.blocker(); next >= 0 {
		m.resume(next)
		return
	}
	m.restart(Forward)
}

// cancel stops the job; leaves says whether its kind leaves anything to clean up.
func (m *fsm) cancel(leaves bool) error {
	j := m.job
	switch {
	case j.State == Cancelled || j.State == Cancelling:
		return nil
	case j.State == Succeeded || j.State == Failed:
		return m.ended(leaves)
	case j.Mode == Cleanup:
		return wrongState(errs.WithHint("wait for the end of the cleanup", j.call("WatchJob")),
			"job %s is being cleaned up", j.ID)
	case j.Mode == Unwind && j.Target == Failed:
		return wrongState(errs.WithHint("wait for its end, then retry it or clean it up",
			j.call("WatchJob")),
			"job %s is failing: it releases what it holds", j.ID)
	}
	from, to := 0, j.lastMain()
	if j.Mode == Solo {
		from, to = j.From, j.To
	}
	j.State = Cancelling
	m.unwind(Cancelled, "cancelled", from, to)
	if j.Owner != "" {
		return nil // its worker stops the handler and ends the job
	}
	m.cancelOpen()
	if _, due := j.next(); !due {
		m.end()
	}
	return nil
}

// ended refuses to stop a job that has ended.
func (m *fsm) ended(leaves bool) error {
	j := m.job
	hint, calls := "retry the job to go on where it failed", []errs.Action{j.call("RetryJob")}
	switch {
	case j.State == Succeeded:
		hint, calls = "delete what the job made if it is not wanted", nil
	case leaves:
		hint = "retry the job, or clean up what it made"
		calls = append(calls, j.call("CleanupJob"))
	}
	return wrongState(errs.WithHint(hint, calls...), "job %s has %s already", j.ID, j.State)
}

func (m *fsm) cleanup(rows func(from int) []Step) error {
	j := m.job
	if err := m.mustRest(); err != nil {
		return err
	}
	if j.State == Succeeded {
		return wrongState(errs.WithHint("delete what the job made instead"),
			"job %s has succeeded", j.ID)
	}
	again := j.cleaningUp()
	if !j.hasCleanup() {
		added := rows(len(j.Steps))
		if len(added) == 0 {
			return wrongState(errs.WithHint("retry the job to go on where it failed",
				j.call("RetryJob")),
				"jobs of kind %s leave nothing to clean up", j.Kind)
		}
		j.Steps = append(j.Steps, added...)
	}
	for i := range j.Steps {
		if s := &j.Steps[i]; s.Phase == CleanupPhase && s.State != StepSkipped {
			m.deletes(s)
			m.reset(i, false)
		}
	}
	switch {
	case again: // it returns to where the first cleanup began
	case j.State == ActionRequired:
		j.Return = Cancelled
	default:
		j.Return = j.State
	}
	j.Cleaned = false
	m.restart(Cleanup)
	return nil
}

func (m *fsm) mustRest() error {
	j := m.job
	if !j.State.Active() {
		return nil
	}
	hint := errs.WithHint("wait for its end, or cancel it first", j.call("WatchJob"),
		j.call("CancelJob"))
	if j.State == Cancelling || j.Mode == Cleanup || j.Mode == Unwind && j.Target == Failed {
		hint = errs.WithHint("wait for its end", j.call("WatchJob")) // it cannot be cancelled
	}
	return wrongState(hint, "job %s is %s", j.ID, j.State)
}

func noStep(j *Job, kind string) error {
	kinds := make([]string, len(j.Steps))
	for i, s := range j.Steps {
		kinds[i] = s.Kind
	}
	return refuse(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
		errs.WithHint("name one of its steps: "+strings.Join(kinds, ", ")),
		"job %s has no step %q", j.ID, kind)
}

// wrongState says that the job's state does not allow a request.
func wrongState(hint errs.Option, format string, args ...any) error {
	return refuse(errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE, hint, format,
		args...)
}

// call is a call about this job, for a hint.
func (j *Job) call(method string, fields ...string) errs.Action {
	return errs.Call(method, append([]string{"name", resource(j.ID)}, fields...)...)
}
