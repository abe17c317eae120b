package job

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Job is the record of something that was asked for, with its steps.
type Job struct {
	ID       string
	Kind     string
	Title    string
	Args     json.RawMessage // what was asked for; never holds a secret
	Subjects []string        // what the job changes, as "servers/x"; at most one active job each

	RequestID   string // the creator's idempotency key
	RequestHash string // digest of the creating request's body
	Who         string // who asked

	State  State
	Reason string // why it is in this state

	Mode     Mode
	Target   State // where an unwinding job ends
	Return   State // of the job after a solo run or a cleanup
	From, To int   // bounds (step seq) of what a solo run covers
	Cleaned  bool  // the cleanup has removed what the job made

	Owner     string // process that holds the job; empty when nobody does
	Epoch     int64  // grows with every claim; agents refuse lower ones
	Heartbeat int64  // moves while the owner lives
	Rev       int64  // moves with every change that a watcher should see
	Turn      int64  // outcomes that were recorded

	Created, Updated, Started, Finished time.Time // zero until it happens

	Steps []Step
}

// Phase tells the plan's steps from those of its cleanup.
type Phase string

// The phases of a job.
const (
	// MainPhase holds the plan's own steps.
	MainPhase Phase = "main"
	// CleanupPhase holds the steps that Cleanup appended.
	CleanupPhase Phase = "cleanup"
)

// Step is one visible part of a job.
type Step struct {
	JobID   string
	Seq     int
	Kind    string
	Title   string
	Section string // critical section it belongs to; empty for none
	Always  bool   // also runs when the job fails or is cancelled
	// DeletesData says that running the step once more deletes data that a user could miss.
	DeletesData bool
	Phase       Phase

	State  StepState
	Reason string // why it waits or was skipped, or what it asks the operator
	// grows only when the step is to be done again: redo, or a section started over
	Generation int
	Attempts   int // tries in all
	Failures   int // failed tries since the last start or retry; compared with the plan's limit
	Restarts   int // of the first step of a section: how often the section was started over
	Spent      time.Duration

	Progress Progress
	Found    []string // what the latest attempt found
	Changed  []string // what the latest attempt changed
	Failure  *Failure // why the last attempt failed, or what it asks; nil once the step is done

	Started, Finished time.Time
}

// Progress says how far a step has come.
type Progress struct {
	Done  int64         `json:"done,omitempty"`
	Total int64         `json:"total,omitempty"` // zero when unknown
	Unit  string        `json:"unit,omitempty"`  // of Done and Total: "bytes", "tables"
	Text  string        `json:"text,omitempty"`
	ETA   time.Duration `json:"eta,omitempty"` // time still needed; zero when unknown
}

// Failure is an error as it is kept and shown.
type Failure struct {
	Message string `json:"message"`
	// name of the errors' Reason without its prefix, for example "DISK_FULL"; empty when unknown
	Reason    string    `json:"reason,omitempty"`
	Hint      errs.Hint `json:"hint,omitzero"` // what can be done about it
	Permanent bool      `json:"permanent,omitempty"`
}

// AttemptState is how a try ended.
type AttemptState string

// The states of an attempt.
const (
	// AttemptOpen means that the try is under way.
	AttemptOpen AttemptState = "open"
	// AttemptDone means that the step succeeded or was not needed.
	AttemptDone AttemptState = "done"
	// AttemptFailed means that the try ended with an error.
	AttemptFailed AttemptState = "failed"
	// AttemptParked means that the try ended by asking the operator.
	AttemptParked AttemptState = "parked"
	// AttemptBack means that the try started its section over.
	AttemptBack AttemptState = "back"
	// AttemptCancelled means that the try was stopped by a cancel.
	AttemptCancelled AttemptState = "cancelled"
	// AttemptStopped means that the process was stopped in good order during the try.
	AttemptStopped AttemptState = "stopped"
	// AttemptLost means that the process died or was fenced during the try.
	AttemptLost AttemptState = "lost"
)

// Attempt is one try of a step. Attempts are kept for good.
type Attempt struct {
	JobID      string
	Seq        int // of the step
	Number     int // from 1
	Generation int
	Epoch      int64
	Owner      string
	State      AttemptState
	Found      []string
	Changed    []string
	Failure    *Failure
	Started    time.Time
	Finished   time.Time
}

// Event is one audited request on a job, or the job's end.
type Event struct {
	JobID   string
	Step    string // kind of the step that it is about; may be empty
	At      time.Time
	Who     string
	Kind    string // "job.create", "job.cancel", "job.succeeded", …
	Message string
	// RequestID is the idempotency key of the request; empty for what the engine itself did.
	RequestID string
}

// Step returns the step of that kind, the cleanup's included.
func (j *Job) Step(kind string) (*Step, bool) {
	i := slices.IndexFunc(j.Steps, func(s Step) bool { return s.Kind == kind })
	if i < 0 {
		return nil, false
	}
	return &j.Steps[i], true
}

// Current returns the step that is being worked on, that failed or that asks the operator.
func (j *Job) Current() (*Step, bool) {
	for _, want := range []func(StepState) bool{
		StepState.open,
		func(s StepState) bool { return s == StepFailed || s == StepActionRequired },
	} {
		for i := range j.Steps {
			if want(j.Steps[i].State) {
				return &j.Steps[i], true
			}
		}
	}
	return nil, false
}

// clone copies the job deep enough that neither copy's steps see the other's changes.
func (j Job) clone() Job {
	j.Subjects = slices.Clone(j.Subjects)
	j.Steps = slices.Clone(j.Steps)
	for i := range j.Steps {
		j.Steps[i].Found = slices.Clone(j.Steps[i].Found)
		j.Steps[i].Changed = slices.Clone(j.Steps[i].Changed)
	}
	return j
}
