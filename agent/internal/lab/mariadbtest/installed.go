//go:build lab

package mariadbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

// installer is the program that makes a datadir. What it makes depends on its version alone: it is
// run with --no-defaults.
const installer = "mariadb-install-db"

// installed is what the installer of each root has made, by its root.
var installed sync.Map

// made is a new datadir of one version. It is made once a process, for half of the time of a short
// test is spent on one.
type made struct {
	sync.Mutex
	dir *os.File // on a filesystem that is mounted nowhere: it goes with the process
}

// install runs the installer, or copies what it has made before.
func (t tools) install(ctx context.Context, r *hostexec.Runner,
	c hostexec.Command) (hostexec.Result, error) {
	found, _ := installed.LoadOrStore(t.i.root, &made{})
	m := found.(*made)
	m.Lock()
	defer m.Unlock()
	datadir := datadirOf(c.Args)
	if m.dir != nil {
		return copyAll(ctx, r, place(m.dir), datadir)
	}
	result, err := r.Run(ctx, t.translate(c))
	if err != nil {
		return result, err
	}
	dir, err := detached()
	if err != nil {
		return result, err
	}
	if _, err := copyAll(ctx, r, datadir, place(dir)); err != nil {
		return result, errors.Join(err, dir.Close())
	}
	m.dir = dir
	return result, nil
}

func datadirOf(args []string) string {
	for _, arg := range args {
		if dir, ok := strings.CutPrefix(arg, "--datadir="); ok {
			return dir
		}
	}
	return ""
}

// place is a path to the directory for other programs.
func place(dir *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), dir.Fd()) }

// copyAll leaves the zeros of the redo log out.
func copyAll(ctx context.Context, r *hostexec.Runner, from, to string) (hostexec.Result, error) {
	return r.Run(ctx, hostexec.Command{Tool: "cp",
		Args: []string{"-a", "--sparse=always", "--", from + "/.", to}})
}

// detached is a directory in memory.
func detached() (*os.File, error) {
	path, err := os.MkdirTemp("/var/tmp", "us")
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	if err := unix.Mount("installed", path, "tmpfs", 0, "size=2G,mode=0755"); err != nil {
		return nil, fmt.Errorf("cannot mount a tmpfs: %w", err)
	}
	dir, err := os.Open(path)
	return dir, errors.Join(err, unix.Unmount(path, unix.MNT_DETACH))
}
