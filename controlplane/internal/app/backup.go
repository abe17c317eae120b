package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
		Program: version, Keys: backup.Places(config.CASigner, config.CAKeyFiles)}, path)
}

// Restored is what a restore made.
type Restored struct {
	// Manifest is that of the archive.
	Manifest backup.Manifest
	// Dir is the state directory.
	Dir string
	// Needed says what has to be on the machine before the first start; empty for nothing.
	Needed string
}

// Restore makes the state directory that the configuration names of an archive.
func Restore(ctx context.Context, sources Sources, log *slog.Logger,
	path string) (Restored, error) {
	config, err := loadUnchecked(sources)
	if err != nil {
		return Restored{}, err
	}
	manifest, err := backup.Restore(ctx, backup.RestoreConfig{StateDir: config.StateDir,
		Logger: log}, path)
	return Restored{Manifest: manifest, Dir: config.StateDir,
		Needed: config.needed(manifest.Elsewhere)}, err
}

// needed says what has to be on this machine for the keys of a CA that are elsewhere.
func (c Config) needed(keys []backup.Elsewhere) string {
	return backup.Needed(keys, backup.Places(c.CASigner, c.CAKeyFiles))
}

// RestoreDump makes records fit to go on that were loaded into the MariaDB of the configuration
// from a dump of that time. It answers with what has to be on this machine before the first start;
// with nothing for nothing.
func RestoreDump(ctx context.Context, sources Sources, log *slog.Logger,
	dumped time.Time) (needed string, err error) {
	config, err := loadUnchecked(sources)
	if err != nil {
		return "", err
	}
	if config.StoreDSNFile == "" {
		return "", errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
			fmt.Sprintf("cannot restore %s from a dump: its records are in no MariaDB",
				config.StateDir),
			errs.WithHint("set store_dsn_file, or restore a file that a backup made"))
	}
	at, err := config.store(log)
	if err != nil {
		return "", err
	}
	if err := backup.Settle(ctx, at, dumped); err != nil {
		return "", fmt.Errorf("cannot restore the records in MariaDB: %w", err)
	}
	keys, err := backup.KeysElsewhere(config.StateDir)
	if errors.Is(err, fs.ErrNotExist) { // the folder of the CA comes afterwards
		return "", nil
	}
	return config.needed(keys), err
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
