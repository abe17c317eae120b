//go:build lab

package faults

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/deploy/stack"
)

// side starts a lab of its own, with a primary that is written to, for a row that needs another
// provider or another disk. prepare sees to its state directory before. It is taken away when the
// row ends.
func (l *lab) side(cfg stack.Config, prepare func(dir string)) *lab {
	l.t.Helper()
	cfg.Bin, cfg.Name = binDir(l.t), l.Name()+"-s"
	cfg.Dir = filepath.Join("/var/lib/understudy-faults", cfg.Name)
	leftover, err := stack.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	_ = unix.Unmount(cfg.Dir, unix.MNT_DETACH) // of a run that was killed
	if err := leftover.Down(context.Background()); err != nil {
		l.t.Fatal(err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	s, err := stack.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	other := &lab{Stack: s, shared: &shared{others: map[string]*stack.Writer{}}, t: l.t}
	l.t.Cleanup(other.end)
	if prepare != nil {
		prepare(cfg.Dir)
	}
	other.start()
	other.run("server", "create", primary, "--image", "trixie", "--binlog-auto-purge")
	other.startWriter()
	return other
}
