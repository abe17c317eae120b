package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// Holdings implements job.Records.
func (r jobs) Holdings(ctx context.Context) ([]job.Holding, error) {
	return rowsOf(ctx, r.tx, func(row scanner) (h job.Holding, err error) {
		err = row.Scan(&h.ID, &h.Kind, &h.Owner, &h.Epoch, &h.Heartbeat)
		return h, err
	}, "SELECT id, kind, owner, epoch, heartbeat FROM jobs WHERE active = 1 ORDER BY id")
}

// Claim implements job.Records.
func (r jobs) Claim(ctx context.Context, seen job.Holding, owner string) (bool, error) {
	n, err := r.tx.exec(ctx, "UPDATE jobs SET owner = ?, epoch = epoch + 1, heartbeat = "+
		"heartbeat + 1, rev = rev + 1 "+
		"WHERE id = ? AND owner = ? AND epoch = ? AND heartbeat = ? AND active = 1",
		owner, seen.ID, seen.Owner, seen.Epoch, seen.Heartbeat)
	return n == 1, err
}

// Fence implements job.Records. It writes: a fence that only reads lets the write of a worker that
// lost the job commit.
func (r jobs) Fence(ctx context.Context, id, owner string, epoch int64) error {
	n, err := r.tx.exec(ctx,
		"UPDATE jobs SET rev = rev + 1 WHERE id = ? AND owner = ? AND epoch = ?", id, owner, epoch)
	if err == nil && n == 0 {
		return job.ErrFenced
	}
	return err
}

// Lock implements job.Records.
func (r jobs) Lock(ctx context.Context, id string) error {
	n, err := r.tx.exec(ctx, "UPDATE jobs SET rev = rev + 1 WHERE id = ?", id)
	if err == nil && n == 0 {
		return job.NotFound(id)
	}
	return err
}

// Beat implements job.Records.
func (r jobs) Beat(ctx context.Context, id, owner string, epoch int64) (job.State, error) {
	n, err := r.tx.exec(ctx,
		"UPDATE jobs SET heartbeat = heartbeat + 1 WHERE id = ? AND owner = ? AND epoch = ?", id,
		owner, epoch)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", job.ErrFenced
	}
	var state job.State
	err = r.tx.sql.QueryRowContext(ctx, "SELECT state FROM jobs WHERE id = ?", id).Scan(&state)
	return state, err
}

// LockSubjects implements job.Records.
func (r jobs) LockSubjects(ctx context.Context, id string, subjects []string) error {
	for _, subject := range subjects {
		holder, err := r.holder(ctx, subject)
		if err == nil && holder == "" {
			_, err = r.tx.exec(ctx, insertSQL("subject_locks", "subject, job_id"), subject, id)
			if r.tx.engine.duplicate(err) { // another job did, between the two statements
				holder, err = r.holder(ctx, subject)
			}
		}
		if err != nil {
			return err
		}
		if holder != "" && holder != id {
			return job.Busy(subject, holder)
		}
	}
	return nil
}

func (r jobs) holder(ctx context.Context, subject string) (id string, err error) {
	err = r.tx.sql.QueryRowContext(ctx, "SELECT job_id FROM subject_locks WHERE subject = ?",
		subject).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// UnlockSubjects implements job.Records.
func (r jobs) UnlockSubjects(ctx context.Context, id string) error {
	_, err := r.tx.exec(ctx, "DELETE FROM subject_locks WHERE job_id = ?", id)
	return err
}
