package job

import (
	"context"
	"errors"
)

var errTODO = errors.New("not built yet")

type sighting struct{}
type worker[T any] struct{ epoch int64 }

func (w *worker[T]) poke()       {}
func (w *worker[T]) live() *live { return nil }

type hub struct{}

func newHub() *hub           { return &hub{} }
func (h *hub) notify(string) {}

// CreateTx is Create inside a transaction of the caller's, such as a handler's commit. The job starts within Config.Poll after it commits.
func (e *Engine[T]) CreateTx(ctx context.Context, tx T, req Request) (Job, error) {
	return Job{}, errTODO
}

// Run takes and runs jobs until ctx ends, then stops the handlers, lets the jobs go so that another process can take them at once, and
// returns nil.
func (e *Engine[T]) Run(ctx context.Context) error { return errTODO }

// Watch sends the job as it is now and then after every change; a slow reader misses snapshots but never the latest. The channel is
// closed when ctx ends.
func (e *Engine[T]) Watch(ctx context.Context, id string) (<-chan Job, error) { return nil, errTODO }

// Retry goes on from the step that failed, was cancelled or needs a person. In a section it starts the section over.
func (e *Engine[T]) Retry(ctx context.Context, id string, ask Ask) (Job, error) {
	return Job{}, errTODO
}

// RetryStep runs one step alone, also after the job succeeded, with the effect key it had, and leaves the others untouched. A step of a
// section brings the whole section.
func (e *Engine[T]) RetryStep(ctx context.Context, id, step string, ask Ask) (Job, error) {
	return Job{}, errTODO
}

// Redo does the step (its whole section) and all after it anew: under new effect keys, as if nothing had been made.
func (e *Engine[T]) Redo(ctx context.Context, id, step string, ask Ask) (Job, error) {
	return Job{}, errTODO
}

// Skip goes past a step without it being done. ask.Reason is required.
func (e *Engine[T]) Skip(ctx context.Context, id, step string, ask Ask) (Job, error) {
	return Job{}, errTODO
}

// Cancel stops the job at a safe point: the running handler's context ends, then the always-steps that are due are run.
func (e *Engine[T]) Cancel(ctx context.Context, id string, ask Ask) (Job, error) {
	return Job{}, errTODO
}

// Cleanup appends the plan's cleanup to a job that failed, was cancelled or needs a person, and runs it.
func (e *Engine[T]) Cleanup(ctx context.Context, id string, ask Ask) (Job, error) {
	return Job{}, errTODO
}
