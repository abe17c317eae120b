package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date, one process at a time.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	dialect := database.DialectSQLite3
	if _, ok := s.engine.(mariadbEngine); ok {
		dialect = database.DialectMySQL
	}
	lock := newSchemaLock(s)
	if err := lock.acquire(ctx); err != nil {
		return fmt.Errorf("lock the schema: %w", err)
	}
	provider, err := goose.NewProvider(dialect, s.schema, files, goose.WithSlog(s.log),
		goose.WithDisableGlobalRegistry(true))
	if err == nil {
		err = s.notNewer(lock.held, provider)
	}
	if err == nil {
		_, err = provider.Up(lock.held)
	}
	if err != nil {
		err = fmt.Errorf("bring the schema up to date: %w", err)
	}
	return errors.Join(err, lock.release(context.WithoutCancel(ctx)))
}

// notNewer refuses a schema that a newer program has changed: what this one writes into it may be
// wrong.
func (s *Store) notNewer(ctx context.Context, provider *goose.Provider) error {
	version, err := provider.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	if known := sources[len(sources)-1].Version; version > known {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
			fmt.Sprintf("the schema of the store has version %d, and this program knows versions "+
				"up to %d", version, known), errs.WithHint("install the version of the program "+
				"that opened this store last, or a newer one"))
	}
	return nil
}
