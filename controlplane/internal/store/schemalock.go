package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

const (
	// without a beat, after which the lock's holder counts as dead
	schemaLockLimit = 15 * time.Second
	schemaLockPoll  = 250 * time.Millisecond
)

// schemaLock is a row that one process at a time owns by compare-and-swap. The databases' own locks
// do not do: Galera's are local to a node.
type schemaLock struct {
	store *Store
	owner string
	held  context.Context // ends when the lock was lost
	stop  context.CancelCauseFunc
	done  sync.WaitGroup
}

func newSchemaLock(s *Store) *schemaLock {
	return &schemaLock{store: s, owner: uuid.NewString()}
}

var errSchemaLockLost = errors.New("another process took the schema's lock")

// acquire waits until the lock is free, or its holder has been silent for the limit on this
// process's own clock.
func (l *schemaLock) acquire(ctx context.Context) error {
	if err := l.prepare(ctx); err != nil {
		return err
	}
	var lastOwner string
	var lastBeat int64
	for since := time.Now(); ; {
		owner, beat, err := l.look(ctx)
		if err != nil {
			return err
		}
		if owner != lastOwner || beat != lastBeat {
			lastOwner, lastBeat, since = owner, beat, time.Now()
		}
		if owner == l.owner { // taken by a commit that nobody answered
			l.keep(ctx)
			return nil
		}
		if owner == "" || time.Since(since) >= schemaLockLimit {
			ok, err := l.swap(ctx, owner, beat, l.owner)
			if err != nil && !errors.Is(err, job.ErrUnavailable) {
				return err
			}
			if ok {
				l.keep(ctx)
				return nil
			}
		}
		if !pause(ctx, schemaLockPoll) {
			return context.Cause(ctx)
		}
	}
}

// prepare makes the row. Both statements may lose against another process that does the same.
func (l *schemaLock) prepare(ctx context.Context) error {
	const table = "CREATE TABLE IF NOT EXISTS schema_lock (id INT NOT NULL PRIMARY KEY, owner " +
		"VARCHAR(64) NOT NULL, beat BIGINT NOT NULL)"
	for {
		_, err := l.store.writers.ExecContext(ctx, table)
		if err == nil {
			break
		}
		if !l.store.engine.again(err) || !pause(ctx, schemaLockPoll) {
			return err
		}
	}
	return l.store.Write(ctx, func(ctx context.Context, tx *Tx) error {
		var rows int
		if err := tx.sql.QueryRowContext(ctx,
			"SELECT COUNT(*) FROM schema_lock").Scan(&rows); err != nil || rows > 0 {
			return err
		}
		_, err := tx.exec(ctx, "INSERT INTO schema_lock (id, owner, beat) VALUES (1, '', 0)")
		if l.store.engine.duplicate(err) {
			return nil
		}
		return err
	})
}

func (l *schemaLock) look(ctx context.Context) (owner string, beat int64, err error) {
	err = l.store.Read(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.sql.QueryRowContext(ctx,
			"SELECT owner, beat FROM schema_lock WHERE id = 1").Scan(&owner, &beat)
	})
	return owner, beat, err
}

func (l *schemaLock) swap(ctx context.Context, owner string, beat int64,
	to string) (done bool, err error) {
	err = l.store.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE schema_lock SET owner = ?, beat = beat + 1 WHERE id = 1 "+
			"AND owner = ? AND beat = ?", to, owner, beat)
		done = n == 1
		return err
	})
	return done, err
}

// keep beats until release.
func (l *schemaLock) keep(ctx context.Context) {
	l.held, l.stop = context.WithCancelCause(ctx)
	l.done.Go(func() {
		ticker := time.NewTicker(schemaLockLimit / 5)
		defer ticker.Stop()
		for {
			select {
			case <-l.held.Done():
				return
			case <-ticker.C:
			}
			if ok, err := l.beat(l.held); err == nil && !ok {
				l.stop(errSchemaLockLost)
			}
		}
	})
}

func (l *schemaLock) beat(ctx context.Context) (ok bool, err error) {
	err = l.store.Write(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.exec(ctx, "UPDATE schema_lock SET beat = beat + 1 WHERE id = 1 AND owner = ?",
			l.owner)
		ok = n == 1
		return err
	})
	return ok, err
}

func (l *schemaLock) release(ctx context.Context) error {
	l.stop(nil)
	l.done.Wait()
	return l.store.Write(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.exec(ctx, "UPDATE schema_lock SET owner = '' WHERE id = 1 AND owner = ?",
			l.owner)
		return err
	})
}
