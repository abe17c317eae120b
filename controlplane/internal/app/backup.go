package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/backup"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Backup writes an archive of the control plane that the configuration describes to a new file. It
// may run meanwhile.
func Backup(ctx context.Context, sources Sources, version, path string) (backup.Manifest, error) {
	config, err := loadUnchecked(sources)
	if err != nil {
		return backup.Manifest{}, err
	}
	if config.StoreDSNFile != "" {
		return backup.Manifest{}, errs.New(errs.FailedPrecondition,
			errorsv1.Reason_REASON_STORE_MISMATCH,
			fmt.Sprintf("cannot back up %s: its records are in a MariaDB", config.StateDir),
			errs.WithHint("dump its database (mariadb-dump --single-transaction --databases "+
				"NAME), copy "+config.path("ca")+" and note the time; to restore, load the dump, "+
				"put the copy in place and run restore with --dump-time"))
	}
	return backup.Create(ctx, backup.Config{StateDir: config.StateDir, ConfigFile: sources.File,
		Program: version}, path)
}

// Restore makes the state directory that the configuration names of an archive, and answers with
// its path.
func Restore(ctx context.Context, sources Sources, log *slog.Logger,
	path string) (backup.Manifest, string, error) {
	config, err := loadUnchecked(sources)
	if err != nil {
		return backup.Manifest{}, "", err
	}
	manifest, err := backup.Restore(ctx, backup.RestoreConfig{StateDir: config.StateDir,
		Logger: log}, path)
	return manifest, config.StateDir, err
}

// RestoreDump makes records fit to go on that were loaded into the MariaDB of the configuration
// from a dump of that time.
func RestoreDump(ctx context.Context, sources Sources, log *slog.Logger, dumped time.Time) error {
	config, err := loadUnchecked(sources)
	if err != nil {
		return err
	}
	if config.StoreDSNFile == "" {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
			fmt.Sprintf("cannot restore %s from a dump: its records are in no MariaDB",
				config.StateDir),
			errs.WithHint("set store_dsn_file, or restore a file that a backup made"))
	}
	at, err := config.store(log)
	if err != nil {
		return err
	}
	if err := backup.Settle(ctx, at, dumped); err != nil {
		return fmt.Errorf("cannot restore the records in MariaDB: %w", err)
	}
	return nil
}

// store is where the records are.
func (c Config) store(log *slog.Logger) (store.Config, error) {
	if c.StoreDSNFile == "" {
		return store.Config{Path: c.path("understudy.db"), Logger: log}, nil
	}
	dsn, err := os.ReadFile(c.StoreDSNFile)
	if err != nil {
		return store.Config{}, fmt.Errorf("cannot read the store's address: %w", err)
	}
	return store.Config{DSN: strings.TrimSpace(string(dsn)), Logger: log}, nil
}
