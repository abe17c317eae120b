package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Create writes a new job with all its steps. The same request id with the same body answers with
// the job that is there; with another body it is refused. So is a job on a subject that another job
// is changing.
func (e *Engine[T]) Create(ctx context.Context, req Request) (Job, error) {
	made, err := e.createOnce(ctx, req)
	if errors.Is(err, ErrRequestTaken) { // it came twice at once; now it is on record
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
		return Job{}, invalid("kind", "use a kind of job that this control plane has",
			"there is no kind of job %q", req.Kind)
	}
	req = req.normal()
	args, err := json.Marshal(req.Args)
	if err != nil {
		return Job{}, fmt.Errorf("cannot encode the arguments: %w", err)
	}
	j := e.newJob(req, plan, args)
	records := e.store.Jobs(tx)
	past, found, err := records.Requested(ctx, j.RequestID)
	switch {
	case err != nil:
		return Job{}, err
	case found && past.Hash != j.RequestHash:
		return Job{}, requestReused(j.RequestID, past.JobID)
	case found:
		return records.Get(ctx, past.JobID)
	}
	if err := records.Insert(ctx, j); err != nil {
		return Job{}, err
	}
	if err := records.LockSubjects(ctx, j.ID, j.Subjects); err != nil {
		return Job{}, err
	}
	event := Event{JobID: j.ID, At: j.Created, Who: j.Who, Kind: "job.create", Message: j.Title,
		RequestID: req.RequestID}
	if err := records.AddEvent(ctx, event); err != nil || plan.Begin == nil {
		return j, err
	}
	return j, plan.Begin(ctx, tx, j)
}

func (e *Engine[T]) newJob(req Request, plan Plan[T], args []byte) Job {
	id := uuid.Must(uuid.NewV7()).String()
	now := e.now()
	return Job{
		ID: id, Kind: plan.Kind, Title: clip(or(or(req.Title, plan.Title), plan.Kind), maxTitle),
		Args:      args,
		Subjects:  req.Subjects,
		RequestID: or(req.RequestID, id), RequestHash: req.hash(args), Who: req.Who,
		State: Queued, Mode: Forward, Created: now, Updated: now,
		Steps: plan.rows(id, MainPhase, 0),
	}
}
