package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Retry goes on from the step that failed, was cancelled or needs a person. In a section it starts
// the section over.
func (e *Engine[T]) Retry(ctx context.Context, id string, ask Ask) (Job, error) {
	return e.ask(ctx, id, "", "retry", ask, true, (*machine).retry)
}

// RetryStep runs one step alone, also after the job succeeded, with the effect key it had, and
// leaves the others untouched. A step of a section brings the whole section, which gets new effect
// keys unless all of it is done.
func (e *Engine[T]) RetryStep(ctx context.Context, id, step string, ask Ask) (Job, error) {
	return e.ask(ctx, id, step, "retry_step", ask, true,
		func(m *machine) error { return m.retryStep(step) })
}

// Redo does the step (its whole section) and all after it anew: under new effect keys, as if
// nothing had been made.
func (e *Engine[T]) Redo(ctx context.Context, id, step string, ask Ask) (Job, error) {
	return e.ask(ctx, id, step, "redo", ask, true, func(m *machine) error { return m.redo(step) })
}

// Skip goes past a step without it being done; a job that the step kept from going on goes on.
// ask.Reason is required.
func (e *Engine[T]) Skip(ctx context.Context, id, step string, ask Ask) (Job, error) {
	return e.ask(ctx, id, step, "skip", ask, true,
		func(m *machine) error { return m.skip(step, ask.Reason) })
}

// Cancel stops the job at a safe point: the running handler's context ends, then the always-steps
// that are due are run. The job is cancelling when Cancel returns, or cancelled already when there
// was nothing to stop or to release.
func (e *Engine[T]) Cancel(ctx context.Context, id string, ask Ask) (Job, error) {
	return e.ask(ctx, id, "", "cancel", ask, false, func(m *machine) error {
		plan, _ := e.Plan(m.job.Kind)
		return m.cancel(len(plan.rows(id, CleanupPhase, 0)) > 0)
	})
}

// Cleanup appends the plan's cleanup to a job that failed, was cancelled or needs a person, and
// runs it. It is not shut out by another job on the same subjects.
func (e *Engine[T]) Cleanup(ctx context.Context, id string, ask Ask) (Job, error) {
	return e.ask(ctx, id, "", "cleanup", ask, false, func(m *machine) error {
		plan, _ := e.Plan(m.job.Kind)
		return m.cleanup(func(from int) []Step { return plan.rows(id, CleanupPhase, from) })
	})
}

// ask applies a person's request to the job's rows, once for each request id.
func (e *Engine[T]) ask(ctx context.Context, id, step, verb string, ask Ask, lock bool,
	change func(*machine) error) (Job, error) {
	if err := ask.check(); err != nil {
		return Job{}, fmt.Errorf("cannot %s: %w", describeAsk(verb, id, step), err)
	}
	var after Job
	err := e.store.Write(ctx, func(ctx context.Context, tx T) error {
		records := e.store.Jobs(tx)
		if err := records.Lock(ctx, id); err != nil {
			return err
		}
		j, err := records.Get(ctx, id)
		if err != nil {
			return err
		}
		if ask.RequestID != "" && ask.RequestID == j.LastRequest {
			after = j
			return nil
		}
		after, err = e.answer(ctx, records, &j, step, verb, ask, lock, change)
		return err
	})
	if err != nil {
		return Job{}, fmt.Errorf("cannot %s: %w", describeAsk(verb, id, step), aboutJob(err, id))
	}
	e.log.Info("job asked", "job", id, "kind", after.Kind, "request", verb, "step", step, "who",
		ask.Who, "state", string(after.State))
	e.asked(&after)
	return after, nil
}

func (e *Engine[T]) answer(ctx context.Context, records Records, j *Job, step, verb string, ask Ask,
	lock bool, change func(*machine) error) (Job, error) {
	m := newMachine(j, e.now())
	if err := change(m); err != nil {
		return Job{}, err
	}
	if lock && j.State.Active() {
		if err := e.lockSubjects(ctx, records, j); err != nil {
			return Job{}, err
		}
	}
	if ask.RequestID != "" {
		j.LastRequest = ask.RequestID
	}
	m.events = append([]Event{{
		JobID: j.ID, Step: step, At: m.now, Who: ask.Who, Kind: "job." + verb, Message: ask.Reason,
		RequestID: ask.RequestID,
	}}, m.events...)
	return *j, m.save(ctx, records)
}

// asked lets this process act on a request at once; others see it within their poll.
func (e *Engine[T]) asked(j *Job) {
	e.mu.Lock()
	w := e.held[j.ID]
	e.mu.Unlock()
	if w != nil && j.State == Cancelling {
		w.cancel()
	}
	e.published(j.ID)
	e.kickScan()
}

func describeAsk(verb, id, step string) string {
	switch verb {
	case "cleanup":
		return "clean up job " + id
	case "retry_step":
		return fmt.Sprintf("retry step %s of job %s", step, id)
	}
	if step != "" {
		return fmt.Sprintf("%s step %s of job %s", verb, step, id)
	}
	return verb + " job " + id
}

// aboutJob is the error with the job named in it.
func aboutJob(err error, id string) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		refusal.Way = strings.ReplaceAll(refusal.Way, "JOB", id) // ready to be copied
	} else if errors.Is(err, ErrNotFound) {
		return refuse(ErrNotFound, "see which there are with `understudy job list`",
			"there is no job %s", id)
	}
	return err
}
