//go:build lab

package backup_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/backup"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// The state directory may be a filesystem of its own.
func TestRestoreOntoAMountPoint(t *testing.T) {
	t.Parallel()
	path, dir := newPlane(t).backup(), t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=100k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	to := backup.RestoreConfig{StateDir: dir, Logger: slog.New(slog.DiscardHandler)}
	if _, err := backup.Restore(t.Context(), to, path); !errors.Is(err, unix.ENOSPC) ||
		errs.KindOf(err) == errs.DataLoss {
		t.Errorf("onto a filesystem that is too small: %v", err)
	}
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"))
	const service = 12345
	must(t, os.Chown(dir, service, service))
	_, err := backup.Restore(t.Context(), to, path)
	must(t, err)
	count := 0
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != service {
			t.Errorf("%s is not the owner's of the state directory", path)
		}
		count++
		return err
	}))
	if count < 6 {
		t.Errorf("only %d files", count)
	}
}
