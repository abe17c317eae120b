package nspawn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/deploy/lab/host"
)

// SuperviseWord makes a program a supervisor, with four arguments.
const SuperviseWord = "nspawn-supervise"

const (
	launchMode = "launch"
	runMode    = "run"
)

// Supervise must be called by every program (and TestMain) that uses this package: with the
// arguments of a supervisor, which end with SuperviseWord and four others, it runs one machine
// until it is off and reports that it handled them. It takes nothing from the environment.
func Supervise(args []string) (handled bool, err error) {
	at := len(args) - 5
	if at < 1 || args[at] != SuperviseWord {
		return false, nil
	}
	l, id := lab{name: args[at+2], dir: args[at+3]}, args[at+4]
	if args[at+1] == launchMode {
		return true, launch(l, id, args[1:at])
	}
	return true, runSupervisor(l, id)
}

// supervisor is the command line of a machine's supervisor; words come before SuperviseWord.
func (l lab) supervisor(words []string, mode, id string) []string {
	return slices.Concat([]string{selfProgram()}, words,
		[]string{SuperviseWord, mode, l.name, l.dir, id})
}

// startSupervisor starts the machine's supervisor and returns when it holds the machine's
// lock: from there on it is found whatever becomes of this process.
func (p *Provider) startSupervisor(ctx context.Context, m *machineRecord) error {
	argv := p.lab.supervisor(p.cfg.SupervisorWords, launchMode, m.ID)
	if host.UnderSystemd() {
		argv = append(p.lab.systemdRun(m),
			p.lab.supervisor(p.cfg.SupervisorWords, runMode, m.ID)...)
	}
	if err := os.MkdirAll(p.lab.runDir(m.ID), 0o700); err != nil {
		return err
	}
	_, err := tool(context.WithoutCancel(ctx), "", argv...)
	if err != nil && strings.Contains(err.Error(), "already") {
		return nil // the unit of a supervisor that is just starting or ending
	}
	if err != nil {
		return fmt.Errorf("cannot start the supervisor of machine %s: %w", m.ID, err)
	}
	return nil
}

// systemdRun puts the supervisor under the box's own systemd, which lets it manage the
// control groups below its unit's.
func (l lab) systemdRun(m *machineRecord) []string {
	log := "append:" + l.path("run", m.ID, "supervisor.log")
	return []string{"systemd-run", "--quiet", "--collect", "--no-ask-password",
		"--unit=" + l.unit(m.ID),
		"--description=Machine " + m.Name + " of lab " + l.name,
		"--property=Type=exec", "--property=Delegate=yes", "--property=KillMode=mixed",
		"--property=TasksMax=infinity",
		fmt.Sprintf("--property=TimeoutStopSec=%d", int(m.StopLimit.Seconds())+5),
		"--property=StandardOutput=" + log, "--property=StandardError=" + log, "--"}
}

// launch starts the supervisor as nobody's child and ends. Its standard output is the
// provider's pipe, which the supervisor closes when it holds the lock.
func launch(l lab, id string, words []string) error {
	log, err := os.OpenFile(l.path("run", id, "supervisor.log"),
		os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// What this process was given beside its standard files stays here: a machine would keep a lock
	// of whoever started the lab for as long as it runs.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	argv := l.supervisor(words, runMode, id)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	cmd.Env = toolEnv()
	cmd.Stdout, cmd.Stderr = os.Stdout, log
	return errors.Join(cmd.Start())
}
