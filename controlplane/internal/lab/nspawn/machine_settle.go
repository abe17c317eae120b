package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/deploy/lab/host"
)

// The supervisor shuts its machine down on the first and reboots it on the second.
const (
	signalStop   = unix.SIGTERM
	signalReboot = unix.SIGHUP
	killLimit    = time.Minute
)

// changePhase records what is wanted and then sees to it.
func (p *Provider) changePhase(ctx context.Context, m *machineRecord, phase, reason string) error {
	m.setPhase(phase, reason, p.cfg.Now())
	if err := saveRecord(p.lab, machineKind, m.ID, m); err != nil {
		return err
	}
	return p.settleMachine(ctx, m)
}

func (m *machineRecord) setPhase(phase, reason string, now time.Time) {
	m.Phase, m.PhaseAt, m.Reason = phase, now, reason
}

// settleMachine brings what is there in line with the record, after a kill at any point.
func (p *Provider) settleMachine(ctx context.Context, m *machineRecord) error {
	alive := holder(p.lab.runLock(m.ID)) != 0
	switch {
	case m.Phase == phaseStarting && !alive:
		return p.startSupervisor(ctx, m)
	case m.Phase == phaseRunning && !alive:
		m.setPhase(phaseStopped, "power lost: the process that ran it ended", p.cfg.Now())
		return saveRecord(p.lab, machineKind, m.ID, m)
	case m.Phase == phaseStopping && alive:
		return p.lab.signalSupervisor(m.ID, signalStop)
	case m.Phase == phaseStopping:
		m.setPhase(phaseStopped, m.Reason, p.cfg.Now())
		return saveRecord(p.lab, machineKind, m.ID, m)
	case m.Phase == phaseTerminating:
		return p.terminate(ctx, m)
	}
	return nil
}

// settledMachine settles a machine and shows it. What cannot be settled now is its reason,
// not the end of a list of many.
func (p *Provider) settledMachine(ctx context.Context, m *machineRecord) provider.Machine {
	reason := m.Reason
	if err := p.settleMachine(ctx, m); err != nil {
		p.cfg.Log.Warn("cannot settle machine", "machine", m.ID, "error", err)
		reason = err.Error()
	}
	fill(&reason, m.Reason)
	return provider.Machine{ID: m.ID, Name: m.Name, State: p.machineState(m), Reason: reason,
		Image: m.Image, Zone: m.Zone,
		Address: m.Address, Tags: m.Tags, CreatedAt: m.CreatedAt, StartedAt: m.StartedAt}
}

func (p *Provider) machineState(m *machineRecord) provider.MachineState {
	switch m.Phase {
	case phaseRunning:
		if !p.since(m.PhaseAt, p.cfg.Delays.MachineStart) {
			return provider.MachinePending
		}
		return provider.MachineRunning
	case phaseStopping, phaseTerminating:
		return provider.MachineStopping
	case phaseStopped:
		return provider.MachineStopped
	case phaseTerminated:
		return provider.MachineTerminated
	}
	return provider.MachinePending
}

func (p *Provider) terminate(ctx context.Context, m *machineRecord) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killLimit)
	defer cancel()
	if err := p.lab.killMachine(ctx, m); err != nil {
		return err
	}
	if err := p.releaseVolumes(m.ID); err != nil {
		return err
	}
	if err := p.lab.removeNetwork(ctx, m.ID, m.Ordinal); err != nil {
		return err
	}
	removeNspawnLock(p.lab.root(m.ID))
	if err := removeNspawnDirs(p.lab.nspawn(m.ID)); err != nil {
		return err
	}
	for _, dir := range []string{p.lab.pool("machines", m.ID), p.lab.runDir(m.ID)} {
		if err := removeTree(dir); err != nil {
			return err
		}
	}
	m.setPhase(phaseTerminated, m.Reason, p.cfg.Now())
	m.Leader = 0
	return saveRecord(p.lab, machineKind, m.ID, m)
}

// killMachine ends supervisor and machine, whichever is there, without asking.
func (l lab) killMachine(ctx context.Context, m *machineRecord) error {
	if err := l.killSupervisor(ctx, m.ID); err != nil {
		return err
	}
	h, err := host.FindGroups()
	if err != nil {
		return err
	}
	groups := []string{l.cgroup(m.ID)}
	if m.CGroup != "" && m.CGroup != l.cgroup(m.ID) {
		// A unit's group is its systemd's to remove, what is below it was left to us.
		groups = append(groups, machineGroup(m.CGroup), monitorGroup(m.CGroup))
	}
	for _, group := range groups {
		if err := h.Kill(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

// killSupervisor comes first, as one that has just started may not be in its group yet.
func (l lab) killSupervisor(ctx context.Context, machine string) error {
	ticker := time.NewTicker(killPoll)
	defer ticker.Stop()
	for {
		pid := holder(l.runLock(machine))
		if pid == 0 {
			return nil
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cannot kill the supervisor of machine %s: %w", machine, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the supervisor of machine %s, process %d, does not end: %w", machine,
				pid, ctx.Err())
		case <-ticker.C:
		}
	}
}

func (l lab) signalSupervisor(machine string, signal syscall.Signal) error {
	pid := holder(l.runLock(machine))
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, os.ErrProcessDone) &&
		!errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("cannot signal the supervisor of machine %s: %w", machine, err)
	}
	return nil
}
