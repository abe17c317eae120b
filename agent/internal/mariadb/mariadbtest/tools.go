//go:build lab

package mariadbtest

import (
	"context"
	"os/exec"
	"path/filepath"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

// enter runs a program below another root directory, which sees the instance's directories at their own paths.
const enter = `root=$1; shift
while [ "$1" != -- ]; do mkdir -p "$root$1" && mount --rbind "$1" "$root$1" || exit 125; shift; done
shift; exec chroot "$root" "$@"`

// command runs a program of the instance's version; it dies with the test.
func (i *Instance) command(name string, args ...string) *exec.Cmd {
	return exec.Command(i.argv(name, args)[0], i.argv(name, args)[1:]...)
}

func (i *Instance) argv(name string, args []string) []string {
	if i.root == "/" {
		return append([]string{name}, args...)
	}
	argv := []string{"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", enter, "enter", i.root, i.Dir}
	if filepath.Dir(i.Volume) != i.Dir {
		argv = append(argv, i.Volume)
	}
	return append(append(argv, "--", name), args...)
}

// tools are MariaDB's, of the instance's version; blkid is the host's.
type tools struct{ i *Instance }

func (t tools) runner() (*hostexec.Runner, error) { return hostexec.New(hostexec.Config{}) }

func (t tools) translate(c hostexec.Command) hostexec.Command {
	if t.i.root == "/" || c.Tool == "blkid" {
		return c
	}
	argv := t.i.argv(c.Tool, c.Args)
	c.Tool, c.Args = argv[0], argv[1:]
	return c
}

// Run implements mariadb.Exec.
func (t tools) Run(ctx context.Context, c hostexec.Command) (hostexec.Result, error) {
	r, err := t.runner()
	if err != nil {
		return hostexec.Result{}, err
	}
	return r.Run(ctx, t.translate(c))
}

// Lines implements mariadb.Exec.
func (t tools) Lines(ctx context.Context, c hostexec.Command, each func(line []byte) error) error {
	r, err := t.runner()
	if err != nil {
		return err
	}
	return r.Lines(ctx, t.translate(c), each)
}
