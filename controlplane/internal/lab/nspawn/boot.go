package nspawn

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/understudy-db/understudy/deploy/lab/host"
)

const (
	// rebootStatus is how nspawn says that the machine asked to be restarted.
	rebootStatus = 133
	// What systemd as process 1 does on these: glibc's SIGRTMIN+4 and +5.
	powerOff     = syscall.Signal(34 + 4)
	restart      = syscall.Signal(34 + 5)
	leaderLimit  = 2 * time.Minute
	killPoll     = 5 * time.Millisecond
	signalRepeat = time.Second
)

// boot runs the machine once. It says whether the machine is to be started again, and why
// it went off.
func (s *supervisor) boot(ctx context.Context, m *machineRecord) (again bool, reason string) {
	s.rebooting = false
	if err := s.prepare(ctx, m); err != nil {
		return false, "cannot start: " + err.Error()
	}
	starting, cancel := context.WithTimeout(ctx, leaderLimit)
	defer cancel()
	booted, err := s.groups.Start(starting, s.lab.spec(m), s.machine)
	if err != nil {
		return false, "cannot start: " + err.Error()
	}
	if err := s.started(ctx, booted.Leader); err != nil {
		booted.Kill()
		return false, "cannot start: " + err.Error()
	}
	s.watch(ctx, booted.Leader, m.StopLimit, booted.Ended)
	return s.outcome(booted.ExitCode())
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
	return false, fmt.Sprintf("systemd-nspawn ended with status %d: %s", status,
		host.LastLine(s.lab.console(s.id)))
}

// spec is how the machine is booted.
func (l lab) spec(m *machineRecord) host.Spec {
	return host.Spec{Name: l.nspawn(m.ID), Root: l.root(m.ID), Console: l.console(m.ID),
		Args: []string{"--hostname=" + m.Name, "--network-namespace-path=" + l.netnsPath(m.ID)}}
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
		case <-deadline:
			s.log.Warn("machine does not go off by itself", "limit", limit)
			if err := s.groups.Kill(ctx, s.machine); err != nil {
				s.log.Error("cannot cut the power", "error", err)
			}
		}
	}
}

// ask stops asking once the shutdown has come so far that systemd has replaced itself.
func (s *supervisor) ask(leader int) {
	switch {
	case !host.IsSystemd(leader):
	case s.stopping:
		_ = syscall.Kill(leader, powerOff)
	case s.rebooting:
		_ = syscall.Kill(leader, restart)
	}
}
