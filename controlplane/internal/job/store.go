package job

import (
	"context"
	"time"
)

// Store gives the engine transactions that also carry the domain's records.
type Store[T any] interface {
	// Write runs fn in one transaction that can change records, and commits it when fn returns nil.
	// The whole of fn is run again when the database asks for it (busy, deadlock, certification
	// failure).
	Write(ctx context.Context, fn func(ctx context.Context, tx T) error) error
	// Read runs fn in a transaction that sees one state of the records and changes none.
	Read(ctx context.Context, fn func(ctx context.Context, tx T) error) error
	// Jobs gives the job records as seen in tx.
	Jobs(tx T) Records
}

// Records keeps jobs, steps and attempts. It belongs to one transaction.
type Records interface {
	// Insert writes the job and its steps, or answers ErrRequestTaken.
	Insert(ctx context.Context, j Job) error
	// Get reads the job with its steps. It answers NotFound when there is none.
	Get(ctx context.Context, id string) (Job, error)
	// Rev reads the job's Rev alone. It answers NotFound when there is none.
	Rev(ctx context.Context, id string) (int64, error)
	// Requested finds the request that came with that id, be it for a new job or on a job.
	Requested(ctx context.Context, requestID string) (past PastRequest, found bool, err error)
	// AddRequest records a request on a job, or answers ErrRequestTaken.
	AddRequest(ctx context.Context, req PastRequest) error
	// List reads a page of jobs with their steps, newest first, and the token of the next page
	// (empty at the end).
	List(ctx context.Context, filter Filter) ([]Job, string, error)
	// Attempts reads all attempts of a job, oldest first.
	Attempts(ctx context.Context, id string) ([]Attempt, error)

	// Holdings reads who holds each active job.
	Holdings(ctx context.Context) ([]Holding, error)
	// Claim makes owner the holder and raises the epoch, if nobody has claimed, beaten or released
	// since seen was read. It reports whether it did.
	Claim(ctx context.Context, seen Holding, owner string) (bool, error)
	// Fence updates the job's row under (owner, epoch) and so locks it for the rest of the
	// transaction. It answers ErrFenced when that finds no row.
	Fence(ctx context.Context, id, owner string, epoch int64) error
	// Lock updates the job's row and so locks it, whoever holds the job. It answers NotFound when
	// there is none.
	Lock(ctx context.Context, id string) error
	// Beat moves the heartbeat under (owner, epoch) and reads the job's state, or answers
	// ErrFenced.
	Beat(ctx context.Context, id, owner string, epoch int64) (State, error)

	// Update writes the job's row (but for heartbeat, rev and epoch) and the given steps; steps
	// that are not there yet are added.
	Update(ctx context.Context, j *Job, steps []Step) error
	// OpenAttempt adds an attempt.
	OpenAttempt(ctx context.Context, a Attempt) error
	// CloseAttempt ends the attempt (job, seq, number) unless it has ended.
	CloseAttempt(ctx context.Context, a Attempt) error

	// LockSubjects makes the job the one that changes its subjects. It answers Busy when another
	// job is.
	LockSubjects(ctx context.Context, id string, subjects []string) error
	// UnlockSubjects gives up what LockSubjects took.
	UnlockSubjects(ctx context.Context, id string) error

	// AddEvent appends to the audit log.
	AddEvent(ctx context.Context, e Event) error
}

// Filter narrows a list of jobs. Zero fields do not narrow.
type Filter struct {
	Kinds         []string
	States        []State
	Subject       string
	Text          string    // part of the title, of the reason or of a subject, in any case
	CreatedAfter  time.Time // that moment included
	CreatedBefore time.Time // that moment excluded
	Scope         []string  // patterns of what jobs are about, by the store; empty for all
	PageSize      int       // 1 to 500; default 50
	PageToken     string
}

// PastRequest is a request that was carried out.
type PastRequest struct {
	RequestID string
	JobID     string // of the job that it made or changed
	Hash      string // digest of what was asked for
}

// Holding is who holds a job, as read at one moment.
type Holding struct {
	ID        string
	Kind      string
	Owner     string
	Epoch     int64
	Heartbeat int64
}

// save writes what the transitions changed.
func save(ctx context.Context, records Records, m *fsm) error {
	m.job.Updated = m.now
	if err := records.Update(ctx, m.job, m.steps()); err != nil {
		return err
	}
	for _, a := range m.closed {
		if err := records.CloseAttempt(ctx, a); err != nil {
			return err
		}
	}
	for _, a := range m.opened {
		if err := records.OpenAttempt(ctx, a); err != nil {
			return err
		}
	}
	for _, e := range m.events {
		if err := records.AddEvent(ctx, e); err != nil {
			return err
		}
	}
	if m.job.State.Ended() {
		return records.UnlockSubjects(ctx, m.job.ID)
	}
	return nil
}
