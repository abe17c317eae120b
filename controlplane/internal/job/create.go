package job

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Create writes a new job with all its steps. The same request id with the same body answers with
// the job that is there, with another body it is refused with ErrRequestReused. A subject that
// another job is changing is refused with a *Busy.
func (e *Engine[T]) Create(ctx context.Context, req Request) (Job, error) {
	made, err := e.createOnce(ctx, req)
	// the same request came in twice at once: the other one made the job
	if errors.Is(err, ErrExists) {
		made, err = e.createOnce(ctx, req)
	}
	if err != nil {
		return Job{}, fmt.Errorf("cannot create a %s job: %w", req.Kind, err)
	}
	e.published(made.ID)
	e.kickScan()
	return made, nil
}

func (e *Engine[T]) createOnce(ctx context.Context, req Request) (made Job, err error) {
	err = e.store.Write(ctx, func(ctx context.Context, tx T) (err error) {
		made, err = e.CreateTx(ctx, tx, req)
		return err
	})
	return made, err
}

// CreateTx is Create inside a transaction of the caller's, such as a handler's commit. The job
// starts within Config.Poll after it commits.
func (e *Engine[T]) CreateTx(ctx context.Context, tx T, req Request) (Job, error) {
	plan, ok := e.Plan(req.Kind)
	if !ok {
		return Job{}, refuse(ErrInvalid, "ask for one of the jobs of docs/jobs.md",
			"there is no kind of job %q", req.Kind)
	}
	if err := req.check(); err != nil {
		return Job{}, err
	}
	req = req.normal()
	args, err := req.encode()
	if err != nil {
		return Job{}, err
	}
	j := e.newJob(req, plan, args)
	records := e.store.Jobs(tx)
	if req.RequestID != "" {
		there, err := records.ByRequest(ctx, req.RequestID)
		if !errors.Is(err, ErrNotFound) {
			return sameRequest(there, j, err)
		}
	}
	if err := records.Insert(ctx, j); err != nil {
		return Job{}, err
	}
	if err := e.lockSubjects(ctx, records, &j); err != nil {
		return Job{}, err
	}
	event := Event{JobID: j.ID, At: j.Created, Who: j.Who, Kind: "job.create", Message: j.Title,
		RequestID: req.RequestID}
	return j, records.AddEvent(ctx, event)
}

func sameRequest(there, wanted Job, err error) (Job, error) {
	if err != nil {
		return Job{}, err
	}
	if there.RequestHash != wanted.RequestHash {
		return Job{}, refuse(ErrRequestReused, "use a new request id",
			"request id %s made job %s, which is another request",
			wanted.RequestID, there.ID)
	}
	return there, nil
}

func (e *Engine[T]) newJob(req Request, plan Plan[T], args []byte) Job {
	id := uuid.Must(uuid.NewV7()).String()
	now := e.now()
	return Job{
		ID: id, Kind: plan.Kind, Title: or(or(req.Title, plan.Title), plan.Kind), Args: args,
		Subjects:  req.Subjects,
		RequestID: or(req.RequestID, id), RequestHash: req.hash(args), Who: req.Who,
		Parent: req.Parent,
		State:  Queued, Mode: Forward, Created: now, Updated: now,
		Steps: plan.rows(id, MainPhase, 0),
	}
}

// lockSubjects makes the job the one that changes its subjects, unless its kind repairs or
// releases.
func (e *Engine[T]) lockSubjects(ctx context.Context, records Records, j *Job) error {
	if plan, _ := e.Plan(j.Kind); plan.Repairs {
		return nil
	}
	return records.LockSubjects(ctx, j.ID, j.Subjects)
}
