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

const jobColumns = "id, kind, title, args, subjects, request_id, request_hash, who, " +
	"state, active, reason, mode, " +
	"target_state, return_state, from_seq, to_seq, cleaned, owner, epoch, heartbeat, rev, turn, " +
	"created_at, updated_at, started_at, finished_at"

func jobValues(j *job.Job) ([]any, error) {
	subjects, err := encoded(j.Subjects)
	return []any{
		j.ID, j.Kind, j.Title, string(j.Args), subjects, j.RequestID, j.RequestHash, j.Who, j.State,
		flag(j.State.Active()), j.Reason, j.Mode, j.Target, j.Return, j.From, j.To, flag(j.Cleaned),
		j.Owner, j.Epoch, j.Heartbeat, j.Rev, j.Turn,
		millis(j.Created), millis(j.Updated), millis(j.Started), millis(j.Finished),
	}, err
}

func scanJob(row scanner) (job.Job, error) {
	var j job.Job
	var active int
	err := row.Scan(
		&j.ID, &j.Kind, &j.Title, (*[]byte)(&j.Args), decoded{&j.Subjects}, &j.RequestID,
		&j.RequestHash, &j.Who, &j.State, &active, &j.Reason, &j.Mode, &j.Target, &j.Return,
		&j.From, &j.To,
		&j.Cleaned, &j.Owner, &j.Epoch,
		&j.Heartbeat, &j.Rev, &j.Turn, moment{&j.Created}, moment{&j.Updated}, moment{&j.Started},
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
		return r.taken(err, j.RequestID)
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
	row := r.tx.sql.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ?", id)
	j, err := scanJob(row)
	if errors.Is(err, sql.ErrNoRows) {
		return job.Job{}, job.NotFound(id)
	}
	if err != nil {
		return job.Job{}, err
	}
	list := []job.Job{j}
	err = r.readSteps(ctx, list)
	return list[0], err
}

// Rev implements job.Records.
func (r jobs) Rev(ctx context.Context, id string) (rev int64, err error) {
	err = r.tx.sql.QueryRowContext(ctx, "SELECT rev FROM jobs WHERE id = ?", id).Scan(&rev)
	if errors.Is(err, sql.ErrNoRows) {
		err = job.NotFound(id)
	}
	return rev, err
}

// Requested implements job.Records.
func (r jobs) Requested(ctx context.Context, requestID string) (job.PastRequest, bool, error) {
	const query = "SELECT request_id, id, request_hash FROM jobs WHERE request_id = ? UNION ALL " +
		"SELECT request_id, job_id, request_hash FROM job_requests WHERE request_id = ?"
	past, err := rowsOf(ctx, r.tx, func(row scanner) (p job.PastRequest, err error) {
		err = row.Scan(&p.RequestID, &p.JobID, &p.Hash)
		return p, err
	}, query, requestID, requestID)
	if err != nil || len(past) == 0 {
		return job.PastRequest{}, false, err
	}
	return past[0], true, nil
}

// AddRequest implements job.Records.
func (r jobs) AddRequest(ctx context.Context, p job.PastRequest) error {
	_, err := r.tx.exec(ctx, insertSQL("job_requests", "request_id, job_id, request_hash"),
		p.RequestID, p.JobID, p.Hash)
	return r.taken(err, p.RequestID)
}

func (r jobs) taken(err error, requestID string) error {
	if r.tx.engine.duplicate(err) {
		return fmt.Errorf("request %s: %w", requestID, job.ErrRequestTaken)
	}
	return err
}

// Update implements job.Records.
func (r jobs) Update(ctx context.Context, j *job.Job, steps []job.Step) error {
	const query = "UPDATE jobs SET state = ?, active = ?, reason = ?, mode = " +
		"?, target_state = ?, return_state = ?, " +
		"from_seq = ?, to_seq = ?, cleaned = ?, owner = ?, turn = ?, updated_at = ?, " +
		"started_at = ?, finished_at = ? WHERE id = ?"
	_, err := r.tx.exec(ctx, query, j.State, flag(j.State.Active()), j.Reason,
		j.Mode, j.Target, j.Return,
		j.From, j.To, flag(j.Cleaned), j.Owner, j.Turn, millis(j.Updated), millis(j.Started),
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
