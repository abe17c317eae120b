package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// jobs implements job.Records.
type jobs struct{ tx *Tx }

const jobColumns = "id, kind, title, args, subjects, request_id, request_hash, last_request, " +
	"who, parent, state, active, reason, mode, " +
	"target_state, return_state, from_seq, to_seq, cleaned, owner, epoch, heartbeat, rev, " +
	"created_at, updated_at, started_at, finished_at"

func jobValues(j *job.Job) ([]any, error) {
	subjects, err := encoded(j.Subjects)
	return []any{
		j.ID, j.Kind, j.Title, string(j.Args), subjects, j.RequestID, j.RequestHash, j.LastRequest,
		j.Who, j.Parent, j.State,
		flag(j.State.Active()), j.Reason, j.Mode, j.Target, j.Return, j.From, j.To, flag(j.Cleaned),
		j.Owner, j.Epoch, j.Heartbeat, j.Rev,
		millis(j.Created), millis(j.Updated), millis(j.Started), millis(j.Finished),
	}, err
}

func scanJob(row scanner) (job.Job, error) {
	var j job.Job
	var active int
	err := row.Scan(
		&j.ID, &j.Kind, &j.Title, (*[]byte)(&j.Args), decoded{&j.Subjects}, &j.RequestID,
		&j.RequestHash, &j.LastRequest, &j.Who,
		&j.Parent, &j.State, &active, &j.Reason, &j.Mode, &j.Target, &j.Return, &j.From, &j.To,
		&j.Cleaned, &j.Owner, &j.Epoch,
		&j.Heartbeat, &j.Rev, moment{&j.Created}, moment{&j.Updated}, moment{&j.Started},
		moment{&j.Finished},
	)
	return j, err
}

// Insert implements job.Records.
func (r jobs) Insert(ctx context.Context, j job.Job) error {
	values, err := jobValues(&j)
	if err != nil {
		return err
	}
	if _, err := r.tx.exec(ctx, insertSQL("jobs", jobColumns), values...); err != nil {
		if r.tx.engine.duplicate(err) {
			return fmt.Errorf("job %s: %w", j.ID, job.ErrExists)
		}
		return err
	}
	for _, subject := range j.Subjects {
		if _, err := r.tx.exec(ctx, insertSQL("job_subjects", "subject, job_id"), subject,
			j.ID); err != nil {
			return err
		}
	}
	for i := range j.Steps {
		if err := r.insertStep(ctx, &j.Steps[i]); err != nil {
			return err
		}
	}
	return nil
}

// Get implements job.Records.
func (r jobs) Get(ctx context.Context, id string) (job.Job, error) {
	return r.one(ctx, "id", id)
}

// ByRequest implements job.Records.
func (r jobs) ByRequest(ctx context.Context, requestID string) (job.Job, error) {
	return r.one(ctx, "request_id", requestID)
}

func (r jobs) one(ctx context.Context, column, value string) (job.Job, error) {
	j, err := scanJob(r.tx.sql.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE "+column+
		" = ?", value))
	if errors.Is(err, sql.ErrNoRows) {
		return job.Job{}, job.ErrNotFound
	}
	if err != nil {
		return job.Job{}, err
	}
	list := []job.Job{j}
	err = r.readSteps(ctx, list)
	return list[0], err
}

// Update implements job.Records.
func (r jobs) Update(ctx context.Context, j *job.Job, steps []job.Step) error {
	const query = "UPDATE jobs SET last_request = ?, state = ?, active = ?, reason = ?, mode = " +
		"?, target_state = ?, return_state = ?, " +
		"from_seq = ?, to_seq = ?, cleaned = ?, owner = ?, updated_at = ?, started_at = ?, " +
		"finished_at = ? WHERE id = ?"
	_, err := r.tx.exec(ctx, query, j.LastRequest, j.State, flag(j.State.Active()), j.Reason,
		j.Mode, j.Target, j.Return,
		j.From, j.To, flag(j.Cleaned), j.Owner, millis(j.Updated), millis(j.Started),
		millis(j.Finished), j.ID)
	if err != nil {
		return err
	}
	for i := range steps {
		if err := r.updateStep(ctx, &steps[i]); err != nil {
			return err
		}
	}
	return nil
}

// AddEvent implements job.Records.
func (r jobs) AddEvent(ctx context.Context, e job.Event) error {
	return r.tx.Events().Add(ctx, eventOfJob(e))
}
