package job

import (
	"context"
	"errors"
	"fmt"
)

// Retry goes on from the step that failed, was cancelled or needs an operator. In a section it
// starts the section over.
func (e *Engine[T]) Retry(ctx context.Context, id string, req ChangeRequest) (Job, error) {
	return e.change(ctx, change{verb: "retry", id: id, locks: true, apply: (*fsm).retry}, req)
}

// RetryStep runs one step alone, also after the job succeeded, with the effect key it had, and
// leaves the others untouched. A step of a section brings the whole section, which gets new effect
// keys unless all of it is done.
func (e *Engine[T]) RetryStep(ctx context.Context, id, step string,
	req ChangeRequest) (Job, error) {
	return e.change(ctx, change{verb: "retry_step", id: id, step: step, locks: true,
		apply: func(m *fsm) error { return m.retryStep(step) }}, req)
}

// Redo does the step (its whole section) and all after it again: under new effect keys, as if
// nothing had been made. A redo of steps that delete data needs the plan's guard to agree.
func (e *Engine[T]) Redo(ctx context.Context, id, step string, req ChangeRequest) (Job, error) {
	return e.change(ctx, change{verb: "redo", id: id, step: step, locks: true,
		apply: func(m *fsm) error { return m.redo(step) }}, req)
}

// Skip goes past a step without it being done; a job that the step kept from going on goes on.
// req.Reason is required.
func (e *Engine[T]) Skip(ctx context.Context, id, step string, req ChangeRequest) (Job, error) {
	return e.change(ctx, change{verb: "skip", id: id, step: step, locks: true,
		apply: func(m *fsm) error { return m.skip(step, req.Reason) }}, req)
}

// Cancel stops the job at a safe point: the running handler's context ends, then the always-steps
// that are due are run. The job is cancelling when Cancel returns, or cancelled already when there
// was nothing to stop or to release.
func (e *Engine[T]) Cancel(ctx context.Context, id string, req ChangeRequest) (Job, error) {
	return e.change(ctx, change{verb: "cancel", id: id, apply: func(m *fsm) error {
		plan, _ := e.Plan(m.job.Kind)
		if plan.Begin != nil {
			m.owe()
		}
		return m.cancel(len(plan.Cleanup) > 0)
	}}, req)
}

// Cleanup appends the plan's cleanup to a job that failed, was cancelled or needs an operator, and
// runs it. It is not shut out by another job on the same subjects. The plan's guard must agree.
func (e *Engine[T]) Cleanup(ctx context.Context, id string, req ChangeRequest) (Job, error) {
	return e.change(ctx, change{verb: "cleanup", id: id, guarded: true, apply: func(m *fsm) error {
		plan, _ := e.Plan(m.job.Kind)
		return m.cleanup(func(from int) []Step { return plan.rows(id, CleanupPhase, from) })
	}}, req)
}

// change is what a request does to a job's rows.
type change struct {
	verb, id, step string
	locks          bool // the job must have its subjects for itself
	guarded        bool // the plan's guard is asked whichever steps will run
	apply          func(*fsm) error
}

// describe is what the request does, as in "cannot skip step a of job 7".
func (c change) describe() string {
	switch {
	case c.verb == "cleanup":
		return "clean up job " + c.id
	case c.verb == "retry_step":
		return fmt.Sprintf("retry step %s of job %s", c.step, c.id)
	case c.step != "":
		return fmt.Sprintf("%s step %s of job %s", c.verb, c.step, c.id)
	}
	return c.verb + " job " + c.id
}

// change applies a request to the job's rows, once for each request id.
func (e *Engine[T]) change(ctx context.Context, c change, req ChangeRequest) (Job, error) {
	after, err := e.changeOnce(ctx, c, req)
	if errors.Is(err, ErrRequestTaken) { // it came twice at once; now it is on record
		after, err = e.changeOnce(ctx, c, req)
	}
	if err != nil {
		return Job{}, fmt.Errorf("cannot %s: %w", c.describe(), err)
	}
	e.log.Info("job request", "job", c.id, "kind", after.Kind, "request", c.verb, "step", c.step,
		"who", req.Who, "state", string(after.State))
	e.changed(&after)
	return after, nil
}

func (e *Engine[T]) changeOnce(ctx context.Context, c change,
	req ChangeRequest) (after Job, err error) {
	err = e.store.Write(ctx, func(ctx context.Context, tx T) error {
		records := e.store.Jobs(tx)
		if err := records.Lock(ctx, c.id); err != nil {
			return err
		}
		j, err := records.Get(ctx, c.id)
		if err != nil {
			return err
		}
		first, err := firstTime(ctx, records, PastRequest{
			RequestID: req.RequestID, JobID: c.id,
			Hash: digest(c.id, c.verb, c.step, req.Reason, req.Confirm),
		})
		if err == nil && first {
			err = e.apply(ctx, tx, &j, c, req)
		}
		after = j
		return err
	})
	return after, err
}

// firstTime records the request. It reports false when the same request is on record already.
func firstTime(ctx context.Context, records Records, req PastRequest) (bool, error) {
	if req.RequestID == "" {
		return true, nil
	}
	past, found, err := records.Requested(ctx, req.RequestID)
	switch {
	case err != nil:
		return false, err
	case !found:
		return true, records.AddRequest(ctx, req)
	case past != req:
		return false, requestReused(req.RequestID, past.JobID)
	}
	return false, nil
}

func (e *Engine[T]) apply(ctx context.Context, tx T, j *Job, c change, req ChangeRequest) error {
	before := j.clone()
	m := newFSM(j, e.now())
	if err := c.apply(m); err != nil {
		return err
	}
	if err := e.guard(ctx, tx, before, m.deletions, c.guarded, req.Confirm); err != nil {
		return err
	}
	records := e.store.Jobs(tx)
	if c.locks && j.State.Active() {
		if err := records.LockSubjects(ctx, j.ID, j.Subjects); err != nil {
			return err
		}
		if plan, _ := e.Plan(j.Kind); plan.Again != nil {
			if err := plan.Again(ctx, tx, *j); err != nil {
				return err
			}
		}
	}
	m.events = append([]Event{{
		JobID: j.ID, Step: c.step, At: m.now, Who: req.Who, Kind: "job." + c.verb,
		Message: req.Reason, RequestID: req.RequestID,
	}}, m.events...)
	return save(ctx, records, m)
}

// guard asks the plan before data is deleted that a user could miss.
func (e *Engine[T]) guard(ctx context.Context, tx T, before Job, steps []Step, always bool,
	confirm Confirm) error {
	plan, _ := e.Plan(before.Kind)
	if plan.Guard == nil || len(steps) == 0 && !always {
		return nil
	}
	return plan.Guard(ctx, tx, Deletion{Job: before, Steps: steps, Confirm: confirm})
}

// changed lets this process act on a request at once; others see it within their poll.
func (e *Engine[T]) changed(j *Job) {
	e.mu.Lock()
	w := e.held[j.ID]
	e.mu.Unlock()
	if w != nil && j.State == Cancelling {
		w.cancel()
	}
	e.published(j.ID)
	e.kickScan()
}
