package observe

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestAFilesystemIsFullWhenMariaDBCannotGrow, whatever root could still write.
func TestAFilesystemIsFullWhenMariaDBCannotGrow(t *testing.T) {
	t.Parallel()
	const block = 4096
	for name, c := range map[string]struct {
		room unix.Statfs_t
		full bool
	}{
		"nothing is left":      {unix.Statfs_t{Blocks: 1 << 20, Bsize: block}, true},
		"root has room":        {unix.Statfs_t{Blocks: 1 << 20, Bfree: 9999, Bsize: block}, true},
		"some KiB":             {unix.Statfs_t{Blocks: 1 << 20, Bavail: 5, Bsize: block}, true},
		"not enough to grow":   {unix.Statfs_t{Blocks: 1 << 20, Bavail: 4095, Bsize: block}, true},
		"enough to grow":       {unix.Statfs_t{Blocks: 1 << 20, Bavail: 4096, Bsize: block}, false},
		"it has no such limit": {unix.Statfs_t{Bsize: block}, false},
	} {
		if got := full(c.room); got != c.full {
			t.Errorf("%s: %t", name, got)
		}
	}
}
