package nspawn

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

const (
	// rebootStatus is how nspawn says that the machine asked to be restarted.
	rebootStatus = 133
	// What systemd as process 1 does on these: glibc's SIGRTMIN+4 and +5.
	powerOff     = syscall.Signal(34 + 4)
	restart      = syscall.Signal(34 + 5)
	leaderPoll   = 10 * time.Millisecond
	leaderLimit  = 30 * time.Second
	signalRepeat = time.Second
)

// boot runs the machine once. It says whether the machine is to be started again, and why
// it went off.
func (s *supervisor) boot(ctx context.Context, m *machineRecord) (again bool, reason string) {
	s.rebooting = false
	if err := s.prepare(ctx, m); err != nil {
		return false, "cannot start: " + err.Error()
	}
	cmd, err := s.startNspawn(m)
	if err != nil {
		return false, "cannot start: " + err.Error()
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // what matters of it is in ProcessState
		close(ended)
	}()
	leader, err := waitLeader(cmd.Process.Pid, ended)
	if err == nil {
		err = s.started(ctx, leader)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		<-ended
		return false, fmt.Sprintf("cannot start: %v: %s", err, s.consoleTail())
	}
	s.watch(ctx, leader, m.StopLimit, ended)
	return s.outcome(cmd.ProcessState.ExitCode())
}

func (s *supervisor) outcome(status int) (again bool, reason string) {
	switch {
	case s.stopping:
		return false, "stopped as asked"
	case s.rebooting || status == rebootStatus:
		return true, "rebooted"
	case status == 0:
		return false, "powered off from inside"
	}
	return false, fmt.Sprintf("systemd-nspawn ended with status %d: %s", status, s.consoleTail())
}

// startNspawn starts it in the machine's group: this process goes there for a moment, as
// children begin where their parent is.
func (s *supervisor) startNspawn(m *machineRecord) (*exec.Cmd, error) {
	console, err := os.OpenFile(filepath.Join(s.lab.runDir(m.ID), "console.log"),
		os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer console.Close()
	cmd := exec.Command("systemd-nspawn", s.lab.nspawnArgs(m)...)
	cmd.Env = append(toolEnv(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.groups.enter(s.machine); err != nil {
		return nil, err
	}
	return cmd, errors.Join(cmd.Start(), s.groups.enter(monitorGroup(s.own)))
}

func (l lab) nspawnArgs(m *machineRecord) []string {
	return []string{"--boot", "--quiet", "--register=no", "--keep-unit", "--settings=no",
		"--directory=" + l.root(m.ID), "--machine=" + l.nspawn(m.ID), "--hostname=" + m.Name,
		"--network-namespace-path=" + l.netnsPath(m.ID), "--resolv-conf=off", "--timezone=off",
		"--link-journal=no",
		"--console=pipe"}
}

// started records the machine as running and plugs what was attached since its devices
// were written down.
func (s *supervisor) started(ctx context.Context, leader int) error {
	unlock, err := lockFile(ctx, s.lab.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	m, err := loadRecord[machineRecord](s.lab, machineKind, s.id)
	if err != nil {
		return err
	}
	m.Leader = leader
	switch m.Phase {
	case phaseStarting:
		m.StartedAt = time.Now()
		m.setPhase(phaseRunning, "", m.StartedAt)
	case phaseStopping:
		s.stopping = true
	}
	if err := saveRecord(s.lab, machineKind, s.id, m); err != nil {
		return err
	}
	attached, err := s.lab.attachedLoops(m.ID)
	if err != nil {
		return err
	}
	for volume := range attached {
		if err := s.lab.plug(m, volume); err != nil {
			return err
		}
	}
	return nil
}

// watch passes on what signals ask for until the machine is off, and cuts its power when
// it takes too long.
func (s *supervisor) watch(ctx context.Context, leader int, limit time.Duration,
	ended <-chan struct{}) {
	repeat := time.NewTicker(signalRepeat)
	defer repeat.Stop()
	var deadline <-chan time.Time
	for {
		if (s.stopping || s.rebooting) && deadline == nil {
			deadline = time.After(limit)
			s.ask(leader)
		}
		select {
		case <-ended:
			return
		case sig := <-s.signals:
			if sig == signalReboot {
				s.rebooting = true
			} else {
				s.stopping, deadline = true, nil
			}
		case <-repeat.C:
			s.ask(leader) // a system that was still booting may have ignored the first
			if s.stopping || s.rebooting || !isSystemd(strconv.Itoa(leader)) {
				resumeShells(leader)
			}
		case <-deadline:
			s.log.Warn("machine does not go off by itself", "limit", limit)
			if err := s.groups.kill(ctx, s.machine); err != nil {
				s.log.Error("cannot cut the power", "error", err)
			}
		}
	}
}

// ask stops asking once the shutdown has come so far that systemd has replaced itself.
func (s *supervisor) ask(leader int) {
	switch {
	case !isSystemd(strconv.Itoa(leader)):
	case s.stopping:
		_ = syscall.Kill(leader, powerOff)
	case s.rebooting:
		_ = syscall.Kill(leader, restart)
	}
}

// waitLeader waits until a child of nspawn has become the machine's systemd.
func waitLeader(nspawn int, ended <-chan struct{}) (int, error) {
	ticker := time.NewTicker(leaderPoll)
	defer ticker.Stop()
	limit := time.After(leaderLimit)
	for {
		select {
		case <-ended:
			return 0, errors.New("systemd-nspawn ended")
		case <-limit:
			return 0, fmt.Errorf("no systemd in the machine after %s", leaderLimit)
		case <-ticker.C:
			if pid := findLeader(nspawn); pid != 0 {
				return pid, nil
			}
		}
	}
}

func findLeader(nspawn int) int {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", nspawn))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for child := range strings.FieldsSeq(string(children)) {
			if isSystemd(child) {
				pid, _ := strconv.Atoi(child)
				return pid
			}
		}
	}
	return 0
}

func isSystemd(pid string) bool {
	exe, err := os.Readlink("/proc/" + pid + "/exe")
	return err == nil && filepath.Base(exe) == "systemd"
}

// consoleTail is the last line that nspawn or the machine's system wrote.
func (s *supervisor) consoleTail() string {
	data, err := os.ReadFile(filepath.Join(s.lab.runDir(s.id), "console.log"))
	if err != nil {
		return err.Error()
	}
	return lastLine(string(data[max(0, len(data)-4096):]))
}
