package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
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
	provider, err := goose.NewProvider(dialect, s.writers, files, goose.WithSlog(s.log),
		goose.WithDisableGlobalRegistry(true))
	if err == nil {
		_, err = provider.Up(lock.held)
	}
	if err != nil {
		err = fmt.Errorf("bring the schema up to date: %w", err)
	}
	return errors.Join(err, lock.release(context.WithoutCancel(ctx)))
}
