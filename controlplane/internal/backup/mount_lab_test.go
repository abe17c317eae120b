//go:build lab

package backup_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/backup"
)

// The state directory may be a filesystem of its own.
func TestRestoreOntoAMountPoint(t *testing.T) {
	t.Parallel()
	path, dir := newPlane(t).backup(), t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	_, err := backup.Restore(t.Context(), backup.RestoreConfig{StateDir: dir,
		Logger: slog.New(slog.DiscardHandler)}, path)
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, "ca", "key.pem")); err != nil {
		t.Error(err)
	}
}
