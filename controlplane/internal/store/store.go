package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

const (
	startPatience = 30 * time.Second
	startPause    = time.Second
)

// Config says where the records are. Exactly one of Path and DSN is set.
type Config struct {
	Path string // SQLite file; made, with mode 0600, when it is not there
	// MariaDB, as go-sql-driver writes it: user:password@tcp(host:3306)/database
	DSN string
	// Patience is how long Open waits for a MariaDB that does not answer, or whose node is not
	// ready; default 30 s.
	Patience time.Duration
	Logger   *slog.Logger // default slog.Default()
	// Now is the source of the records' times; default time.Now.
	Now func() time.Time
	// Trace is called with each statement of a transaction, from many goroutines; default none.
	Trace func(query string)
}

// Store is the records' home. It implements job.Store[*Tx].
type Store struct {
	engine  engine
	writers *sql.DB
	readers *sql.DB
	schema  *sql.DB // changes the schema
	log     *slog.Logger
	now     func() time.Time
	trace   func(query string)
}

var _ job.Store[*Tx] = (*Store)(nil)

// Open opens the store and brings its schema up to date. Any number of processes may open one store
// at the same time.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{log: cfg.Logger, now: cfg.Now, trace: cfg.Trace}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	switch {
	case (cfg.Path == "") == (cfg.DSN == ""):
		return nil, errors.New("cannot open the store: give either a file or a MariaDB address")
	case cfg.Path != "":
		if err = s.openSQLite(cfg.Path); err == nil {
			err = s.migrate(ctx)
		}
		if damaged(err) {
			err = fmt.Errorf("%w: %s: %w", ErrDamaged, cfg.Path, err)
		}
	default:
		err = s.reachMariaDB(ctx, cfg)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the store: %w", err), s.Close())
	}
	return s, nil
}

// ErrDamaged is a file with records that SQLite cannot read.
var ErrDamaged = errors.New("the file is damaged")

// reachMariaDB waits for a MariaDB that starts, or joins its cluster, at the same time.
func (s *Store) reachMariaDB(ctx context.Context, cfg Config) error {
	patience := cmp.Or(cfg.Patience, startPatience)
	for began := time.Now(); ; {
		err := s.openMariaDB(ctx, cfg.DSN)
		if err == nil {
			err = s.migrate(ctx)
		}
		if err == nil || !s.engine.passing(err) && !errors.Is(err, job.ErrUnavailable) {
			return err
		}
		if err = unavailable(err); time.Since(began) >= patience {
			return err
		}
		s.log.Warn("waiting for the store", "error", err)
		if closing := s.Close(); closing != nil || !pause(ctx, startPause) {
			return errors.Join(err, closing)
		}
	}
}

// Close ends all connections. Closing twice is fine.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.writers, s.readers, s.schema} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Jobs gives the job records as seen in tx.
func (s *Store) Jobs(tx *Tx) job.Records { return jobs{tx: tx} }

// Tx is one transaction; it carries the domain's records and the jobs'. It is good until the
// function it was given to returns, and for one goroutine.
type Tx struct {
	sql    statements
	engine engine
	now    time.Time
}

// Now is the transaction's time: all that it writes carries the same.
func (tx *Tx) Now() time.Time { return tx.now }

// SizeBytes is the size of all records.
func (tx *Tx) SizeBytes(ctx context.Context) (bytes int64, err error) {
	err = tx.sql.QueryRowContext(ctx, tx.engine.sizeQuery()).Scan(&bytes)
	return bytes, err
}

// exec runs a statement and returns how many rows it matched.
func (tx *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := tx.sql.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
