package job

import (
	"context"
	"time"
)

// Observer follows what a process does for jobs, for metrics and traces. Its methods must not
// block.
type Observer interface {
	// Enter makes the context of an attempt of a step, or of all work on the job when step is nil.
	Enter(ctx context.Context, jobID string, step *Step) context.Context
	// Tried is called after the outcome of an attempt was committed: with the job as it is now, the
	// step as it was in the attempt, and the attempt's begin.
	Tried(j *Job, step *Step, began time.Time)
}

type unobserved struct{}

// Enter implements Observer.
func (unobserved) Enter(ctx context.Context, _ string, _ *Step) context.Context { return ctx }

// Tried implements Observer.
func (unobserved) Tried(*Job, *Step, time.Time) {}
