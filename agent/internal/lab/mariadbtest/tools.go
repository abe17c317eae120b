//go:build lab

package mariadbtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

// enter runs a program in a mount namespace of its own, below a layer over another root directory,
// and with the instance's directories at their own paths. The root itself stays as it is.
const enter = `set -e
root=$1 layer=$2; shift 2
mount -t tmpfs layer "$layer"
mkdir "$layer/up" "$layer/work" "$layer/root"
mount -t overlay -o "lowerdir=$root,upperdir=$layer/up,workdir=$layer/work" layer "$layer/root"
while [ "$1" != -- ]; do mkdir -p "$layer/root$1"; mount --rbind "$1" "$layer/root$1"; shift; done
shift; exec chroot "$layer/root" "$@"`

func (i *Instance) argv(name string, args []string) []string {
	if i.root == "/" {
		return append([]string{name}, args...)
	}
	argv := []string{"unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", enter,
		"enter", i.root, filepath.Join(i.Dir, "layer"), i.Dir}
	if filepath.Dir(i.Volume) != i.Dir {
		argv = append(argv, i.Volume)
	}
	return append(append(argv, "--", name), args...)
}

// Client has MariaDB's own client sign in over the socket, as root of the host does.
func (i *Instance) Client(statement string) (string, error) {
	argv := i.argv("mariadb", []string{"--no-defaults", "--socket", i.Socket, "--user", "root",
		"--execute", statement})
	out, err := exec.CommandContext(i.t.Context(), argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

// spawn starts a program of the instance's version; it does not outlive the test program.
func (i *Instance) spawn(name string, args ...string) (*os.Process, error) {
	runner, err := hostexec.New(hostexec.Config{})
	if err != nil {
		return nil, err
	}
	argv := i.argv(name, args)
	path, err := runner.Look(argv[0])
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.StartProcess(path, argv,
		&os.ProcAttr{Dir: "/", Env: append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/", "MYSQL_GROUP_SUFFIX=.understudy"}, i.Env...),
			Files: []*os.File{null, null, null},
			Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}})
}

// tools are MariaDB's, of the instance's version; blkid is the host's.
type tools struct{ i *Instance }

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
	r, err := hostexec.New(hostexec.Config{})
	if err != nil {
		return hostexec.Result{}, err
	}
	if c.Tool == installer {
		return t.install(ctx, r, c)
	}
	return r.Run(ctx, t.translate(c))
}

// Lines implements mariadb.Exec.
func (t tools) Lines(ctx context.Context, c hostexec.Command, each func(line []byte) error) error {
	r, err := hostexec.New(hostexec.Config{})
	if err != nil {
		return err
	}
	return r.Lines(ctx, t.translate(c), each)
}
