package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/understudy-db/understudy/controlplane/internal/backup"
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
			errs.WithHint("back that MariaDB up (mariadb-dump --single-transaction), and copy "+
				config.path("ca")+" and "+config.path("manual")))
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
