package job

import "slices"

// State is where a job stands.
type State string

// The states of a job.
const (
	// Queued means that the job waits for a process to take it.
	Queued State = "queued"
	// Running means that a step is being worked on.
	Running State = "running"
	// Waiting means that the current step waits for something to become true or for its next
	// attempt.
	Waiting State = "waiting"
	// ActionRequired means that the job goes on only when an operator has acted: retry, skip, redo
	// or cancel.
	ActionRequired State = "action_required"
	// Failed means that a step gave up; what had to be released was released.
	Failed State = "failed"
	// Cancelling means that an operator cancelled the job and that the always-steps are being run.
	Cancelling State = "cancelling"
	// Cancelled means that the job ended at an operator's request.
	Cancelled State = "cancelled"
	// Succeeded means that every step is done or skipped.
	Succeeded State = "succeeded"
)

// Active reports whether a worker has something to do for a job in this state.
func (s State) Active() bool { return slices.Contains(ActiveStates(), s) }

// ActiveStates are those in which a worker has something to do.
func ActiveStates() []State { return []State{Queued, Running, Waiting, Cancelling} }

// UnendedStates are those in which something may still happen: by itself, or by an operator.
func UnendedStates() []State { return append(ActiveStates(), ActionRequired) }

// Ended reports whether nothing will happen to the job any more without a request.
func (s State) Ended() bool {
	return s == Failed || s == Cancelled || s == Succeeded
}

// StepState is where a step stands.
type StepState string

// The states of a step.
const (
	// StepPending means that the step has not begun.
	StepPending StepState = "pending"
	// StepRunning means that an attempt is under way, or was when its process died.
	StepRunning StepState = "running"
	// StepWaiting means that the step waits for something to become true or for its next attempt.
	StepWaiting StepState = "waiting"
	// StepSucceeded means that what the step stands for is true and recorded.
	StepSucceeded StepState = "succeeded"
	// StepSkipped means that an operator, or the handler itself, decided that the step is not
	// needed.
	StepSkipped StepState = "skipped"
	// StepFailed means that the step gave up.
	StepFailed StepState = "failed"
	// StepActionRequired means that the step asked the operator.
	StepActionRequired StepState = "action_required"
	// StepCancelled means that the step was stopped, or not begun, because the job was cancelled.
	StepCancelled StepState = "cancelled"
)

// Done reports whether the job may go past a step in this state.
func (s StepState) Done() bool { return s == StepSucceeded || s == StepSkipped }

// open reports whether a step in this state is the one being worked on.
func (s StepState) open() bool { return s == StepRunning || s == StepWaiting }

// Mode is what a job's worker is after.
type Mode string

// The modes of a job.
const (
	// Forward runs the steps in order; it is the mode of every new job.
	Forward Mode = "forward"
	// Unwind runs the always-steps that are due, then ends the job in its target state.
	Unwind Mode = "unwind"
	// Solo runs one step, or one section, alone.
	Solo Mode = "solo"
	// Cleanup runs the steps of the plan's cleanup.
	Cleanup Mode = "cleanup"
)
