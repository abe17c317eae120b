// Package host boots machines with a systemd of their own on one box: systemd-nspawn over a root
// directory, in a control group that can be killed. It is for labs and tests.
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const leaderPoll = 10 * time.Millisecond

// Spec describes a machine.
type Spec struct {
	// Name is unique on the box.
	Name string
	// Root is the directory of its root filesystem.
	Root string
	// Args are further arguments of systemd-nspawn: network, binds, host name.
	Args []string
	// Wrap precedes systemd-nspawn on its command line; may be empty.
	Wrap []string
	// Console is the file that the machine's console is appended to.
	Console string
}

// UnderSystemd is true on a box whose process 1 is systemd. Control groups are systemd's there: a
// machine needs a unit with Delegate=yes.
func UnderSystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Machine is a machine that was started.
type Machine struct {
	// Leader is the id, on the box, of process 1 of the machine.
	Leader int
	// Ended is closed when systemd-nspawn has ended.
	Ended <-chan struct{}

	cmd *exec.Cmd
}

// Start starts a machine in a group of its own, and returns once its systemd runs, at the latest
// when ctx ends. systemd-nspawn makes its payload's group below its own, so two machines started
// in one group would kill each other's units. The machine ends with the thread that called Start.
func (g Groups) Start(ctx context.Context, spec Spec, group string) (*Machine, error) {
	cmd, err := g.startNspawn(spec, group)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what matters of it is in ProcessState
		close(ended)
	}()
	m := &Machine{Ended: ended, cmd: cmd}
	if m.Leader, err = g.awaitLeader(ctx, group, ended); err != nil {
		_ = cmd.Process.Kill()
		<-ended
		return nil, fmt.Errorf("%w: %s", err, LastLine(spec.Console))
	}
	return m, nil
}

func (g Groups) startNspawn(spec Spec, group string) (*exec.Cmd, error) {
	console, err := os.OpenFile(spec.Console, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer console.Close()
	argv := append(append([]string{}, spec.Wrap...), "systemd-nspawn", "--boot", "--quiet",
		"--register=no", "--keep-unit", "--settings=no", "--directory="+spec.Root,
		"--machine="+spec.Name, "--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--console=pipe")
	argv = append(argv, spec.Args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root",
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"}
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if len(spec.Wrap) > 0 {
		return cmd, cmd.Start()
	}
	return cmd, g.start(cmd, group)
}

// ExitCode is that of systemd-nspawn once Ended is closed: 0 after a power-off, 133 when the
// machine asks to be started again.
func (m *Machine) ExitCode() int { return m.cmd.ProcessState.ExitCode() }

// Kill ends systemd-nspawn and waits for its end; what ran in the machine may remain in its group.
func (m *Machine) Kill() {
	_ = m.cmd.Process.Kill() // it fails when the process has ended
	<-m.Ended
}

func (g Groups) awaitLeader(ctx context.Context, group string,
	ended <-chan struct{}) (int, error) {
	ticker := time.NewTicker(leaderPoll)
	defer ticker.Stop()
	for {
		for _, pid := range g.Processes(group) {
			if IsSystemd(pid) && innerPID(pid) == 1 {
				return pid, nil
			}
		}
		select {
		case <-ended:
			return 0, errors.New("systemd-nspawn ended")
		case <-ctx.Done():
			return 0, fmt.Errorf("no systemd runs in the machine: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

// IsSystemd is true of a process whose program is systemd.
func IsSystemd(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && filepath.Base(exe) == "systemd"
}

// innerPID is the id of the process in its own namespace.
func innerPID(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(ids)
			inner, _ := strconv.Atoi(fields[len(fields)-1])
			return inner
		}
	}
	return 0
}

// LastLine is the last line of a console's file, or why it cannot be read.
func LastLine(console string) string {
	data, err := os.ReadFile(console)
	if err != nil {
		return err.Error()
	}
	text := strings.TrimSpace(string(data[max(0, len(data)-4096):]))
	return text[strings.LastIndex(text, "\n")+1:]
}
