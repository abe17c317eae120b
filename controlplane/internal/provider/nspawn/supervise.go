package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// The words that make this program a supervisor.
const (
	superviseWord = "nspawn-supervise"
	launchMode    = "launch"
	runMode       = "run"
)

// Supervise must be the first thing that main does, in every program (and TestMain) that
// uses this package: with the arguments of a supervisor it runs one machine until it is
// off and says that it handled them. It takes nothing from the environment.
func Supervise(args []string) (handled bool, err error) {
	if len(args) != 6 || args[1] != superviseWord {
		return false, nil
	}
	l, id := lab{name: args[3], dir: args[4]}, args[5]
	if args[2] == launchMode {
		return true, launch(l, id)
	}
	return true, runSupervisor(l, id)
}

// startSupervisor starts the machine's supervisor and returns when it holds the machine's
// lock: from there on it is found whatever becomes of this process.
func (p *Provider) startSupervisor(ctx context.Context, m *machineRecord) error {
	program := p.cfg.Supervisor
	if program == "" {
		program = selfProgram()
	}
	argv := []string{program, superviseWord, launchMode, p.lab.name, p.lab.dir, m.ID}
	if bootedBySystemd() {
		argv[2] = runMode
		argv = append(p.lab.systemdRun(m), argv...)
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

func bootedBySystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// launch starts the supervisor as nobody's child and ends. Its standard output is the
// provider's pipe, which the supervisor closes when it holds the lock.
func launch(l lab, id string) error {
	log, err := os.OpenFile(l.path("run", id, "supervisor.log"),
		os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(selfProgram(), superviseWord, runMode, l.name, l.dir, id)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	cmd.Env = toolEnv()
	cmd.Stdout, cmd.Stderr = os.Stdout, log
	return errors.Join(cmd.Start())
}
