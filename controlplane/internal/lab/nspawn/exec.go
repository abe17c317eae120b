package nspawn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Command is a program to run in a machine.
type Command struct {
	// Argv is the program and its arguments; there is no shell.
	Argv []string
	// Stdin may be nil.
	Stdin io.Reader
}

// Exec runs a command as root in a running machine and gives its output. The error of one
// that failed holds what it wrote to its standard error. It is for operators and for tests:
// the product itself goes through the agent.
func (p *Provider) Exec(ctx context.Context, machineID string, command Command) (string, error) {
	if len(command.Argv) == 0 {
		return "", provider.Errorf(provider.ErrInvalid, machineID, "no command for machine %s",
			machineID)
	}
	leader, err := p.leader(ctx, machineID)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	err = onOwnThread(func() error { return runInside(ctx, leader, command, &stdout, &stderr) })
	if err != nil {
		return stdout.String(), fmt.Errorf("%q in machine %s failed: %w: %s", command.Argv,
			machineID, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// onOwnThread runs do on a thread that ends with it, as the goroutine never gives it back.
// The process's first thread would not end, and would keep the machine's namespaces for
// ever, so it is only held while another one does the work.
func onOwnThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- onOwnThread(do)
			return
		}
		done <- do()
	}()
	return <-done
}

// runInside does what nsenter does, except for one thing. nsenter stops itself when its
// child is stopped, which is what a shutting down systemd does to every process; then nobody
// wakes it to reap the child, and the machine never ends.
func runInside(ctx context.Context, leader int, command Command, stdout, stderr io.Writer) error {
	if err := enterNamespaces(leader); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command.Argv[0], command.Argv[1:]...)
	cmd.Env = toolEnv()
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = command.Stdin, stdout, stderr
	return cmd.Run()
}

// enterNamespaces moves the calling thread; the mount namespace comes last, as it takes the
// box's /proc away. Children of the thread are in the machine's process namespace.
func enterNamespaces(leader int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // else threads share one root
		return err
	}
	var opened []*os.File
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	for _, name := range []string{"uts", "ipc", "net", "pid", "mnt"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", leader, name))
		if err != nil {
			return err
		}
		opened = append(opened, f)
	}
	for _, f := range opened {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("cannot enter %s: %w", f.Name(), err)
		}
	}
	return nil
}

// Shell runs a login shell as root in a running machine, on these files, until it ends. With the
// type of the terminal that they are, it gets a terminal of the machine's own, so that job control
// and full-screen programs work. An *exec.ExitError says how the shell ended.
func (p *Provider) Shell(ctx context.Context, machineID, terminal string,
	in, out, errs *os.File) error {
	leader, err := p.leader(ctx, machineID)
	if err != nil {
		return err
	}
	argv := []string{"bash", "-l"}
	if terminal != "" {
		argv = []string{"env", "TERM=" + terminal, "script", "--quiet", "--return", "--command",
			"exec bash -l", os.DevNull}
	}
	return onOwnThread(func() error {
		return runInside(ctx, leader, Command{Argv: argv, Stdin: in}, out, errs)
	})
}

// leader is the process in the box's numbers that is 1 in the machine.
func (p *Provider) leader(ctx context.Context, machineID string) (int, error) {
	leader := 0
	err := p.withMachine(ctx, machineID, func(m *machineRecord) error {
		if !p.lab.isOn(m) {
			return provider.Errorf(provider.ErrIncorrectState, m.ID,
				"machine %s is not running: it is %s", m.ID, m.Phase)
		}
		leader = m.Leader
		return nil
	})
	return leader, err
}
