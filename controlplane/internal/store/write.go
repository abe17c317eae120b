package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	maxTries      = 12
	maxStaleTries = 3
	maxDelay      = 500 * time.Millisecond
	// patience is how long a write waits for others that write, so that its caller hears of the
	// lock before its own time is up.
	patience = 10 * time.Second
)

// errWaited is the end of a wait for a connection.
var errWaited = errors.New("the store")

// Write runs fn in one transaction that can change records; see job.Store. Errors that will pass
// match job.ErrUnavailable.
func (s *Store) Write(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	delay, began := 2*time.Millisecond, time.Now()
	for try, stale := 1, 1; ; try++ {
		err := s.once(ctx, s.writers, s.engine.writeOptions(), fn)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, inventory.ErrStale):
			if stale++; stale > maxStaleTries {
				return err
			}
		case s.engine.again(err):
			if try >= maxTries || time.Since(began) >= patience {
				return unavailable(err)
			}
		case s.engine.passing(err) || errors.Is(err, errWaited):
			return unavailable(err)
		default:
			return err
		}
		if !pause(ctx, delay) {
			return unavailable(err)
		}
		delay = min(2*delay, maxDelay)
	}
}

// Read runs fn in a transaction that sees one state of the records and changes none; see job.Store.
func (s *Store) Read(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	delay := 2 * time.Millisecond
	for try := 1; ; try++ {
		err := s.once(ctx, s.readers, s.engine.readOptions(), fn)
		switch {
		case err == nil:
			return nil
		case s.engine.again(err) && try < maxTries && pause(ctx, delay):
			delay = min(2*delay, maxDelay)
		case s.engine.again(err) || s.engine.passing(err) || errors.Is(err, errWaited):
			return unavailable(err)
		default:
			return err
		}
	}
}

func (s *Store) once(ctx context.Context, db *sql.DB, opts *sql.TxOptions,
	fn func(ctx context.Context, tx *Tx) error) (err error) {
	conn, err := line(ctx, db)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back
	tx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	if err := fn(ctx, &Tx{sql: s.statements(tx), engine: s.engine,
		now: s.now().UTC().Truncate(time.Millisecond)}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit a transaction: %w", err)
	}
	return nil
}

// Quietly runs fn while no transaction of this process writes, and keeps new ones waiting until fn
// returns: a process that a failpoint stops in a write would keep the store's lock from all others.
func (s *Store) Quietly(ctx context.Context, fn func()) error {
	for range s.writers.Stats().MaxOpenConnections {
		conn, err := line(ctx, s.writers)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // gives it back
	}
	fn()
	return nil
}

// line takes a connection, of which a store in a file has one that writes.
func line(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := db.Conn(waiting)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return nil, fmt.Errorf("%w %s for %s", errWaited, waitedFor(db.Stats()), patience)
	}
	if err != nil {
		return nil, fmt.Errorf("begin a transaction: %w", err)
	}
	return conn, nil
}

func waitedFor(stats sql.DBStats) string {
	switch {
	case stats.MaxOpenConnections == 1:
		return "has been locked by other writers"
	case stats.InUse < stats.MaxOpenConnections:
		return "has not answered"
	default:
		return fmt.Sprintf("has all of its %d connections in use", stats.InUse)
	}
}

// pause waits d minus a random part, so that those who collided do not collide again.
func pause(ctx context.Context, d time.Duration) bool {
	return loop.Pause(ctx, d-time.Duration(rand.Int64N(int64(d)/2+1))) == nil
}

func unavailable(err error) error {
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_STORE_UNAVAILABLE, "",
		errs.Wrap(fmt.Errorf("%w: %w", job.ErrUnavailable, err)), errs.Retry(time.Second),
		errs.WithHint("try again; if it stays, read the control plane's log and check the disk "+
			"of its store"))
}
