package backup_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/backup"
)

// swap changes places of what root restores into and of a link, again and again, as the user of the
// state directory may. It counts.
func swap(state, link string, stop <-chan struct{}) (swaps int) {
	for {
		select {
		case <-stop:
			return swaps
		default:
		}
		names, _ := os.ReadDir(state)
		for _, name := range names {
			staged := filepath.Join(state, name.Name())
			if strings.HasPrefix(name.Name(), ".understudy-restore-") &&
				unix.Renameat2(unix.AT_FDCWD, staged, unix.AT_FDCWD, link,
					unix.RENAME_EXCHANGE) == nil {
				swaps++
			}
		}
	}
}

// The user of the state directory puts a link in the place of what root restores into: nothing
// outside is written, and nothing is given to the user.
func TestNothingOutsideIsTouchedWhileNamesSwap(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, which alone gives files away")
	}
	const user = 65534
	archive, outside := newPlane(t).backup(), t.TempDir()
	key := filepath.Join(outside, "key")
	must(t, os.WriteFile(key, nil, 0o600))
	swaps, restored := 0, 0
	for swaps < 20 || restored < 5 {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
		state, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
		must(t, os.Chown(state, user, user))
		must(t, os.Symlink(outside, link))
		stop, swapped := make(chan struct{}), make(chan int)
		go func() { swapped <- swap(state, link, stop) }()
		_, err := backup.Restore(t.Context(), backup.RestoreConfig{StateDir: state,
			Logger: slog.New(slog.DiscardHandler)}, archive)
		close(stop)
		swaps += <-swapped
		if _, statErr := os.Stat(filepath.Join(state, "ca", "key.pem")); err == nil {
			must(t, statErr)
			restored++
		}
		left, err := os.ReadDir(outside)
		must(t, err)
		if len(left) != 1 {
			t.Fatalf("written outside: %v", left)
		}
		for _, path := range []string{outside, key} {
			info, err := os.Stat(path)
			must(t, err)
			if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
				t.Fatalf("%s is uid %d's", path, uid)
			}
		}
	}
}
