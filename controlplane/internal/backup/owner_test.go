package backup_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/backup"
)

// The user of the state directory puts a link in the place of what root restores into.
func TestNothingOutsideIsGivenToTheUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, which alone gives files away")
	}
	const user = 65534
	state, outside := t.TempDir(), t.TempDir()
	key := filepath.Join(outside, "key")
	staged := filepath.Join(state, ".understudy-restore-1")
	must(t, os.WriteFile(key, nil, 0o600))
	must(t, os.Chown(state, user, user))
	must(t, os.Symlink(outside, staged))
	if err := backup.GiveToOwner(staged, state); err == nil {
		t.Error("the link is followed")
	}
	for _, path := range []string{outside, key} {
		info, err := os.Stat(path)
		must(t, err)
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
			t.Errorf("%s is uid %d's", path, uid)
		}
	}
}
