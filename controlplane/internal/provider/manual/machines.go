package manual

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateMachine asks an operator for a machine. The join file is not kept: an operator makes one
// when the machine is there.
func (p *Provider) CreateMachine(ctx context.Context,
	req provider.CreateMachineRequest) (made provider.Machine, err error) {
	if err := req.Validate(); err != nil {
		return made, err
	}
	if req.Zone, err = zoneOf(req.Zone); err != nil {
		return made, err
	}
	if err := p.image(req.Image); err != nil {
		return made, err
	}
	params := paramsOf([]any{req.Name, req.Image, req.Zone, req.Tags})
	err = p.change(ctx, func(r *records) error {
		for _, m := range r.Machines {
			if m.Token == req.ClientToken {
				made = p.showMachine(r, m)
				if m.Params != params {
					return tokenReused(req.ClientToken, m.ID)
				}
				return nil
			}
		}
		m := &machine{Token: req.ClientToken, Params: params, Machine: provider.Machine{
			ID: newID("i"), Name: req.Name, State: provider.MachinePending, Image: req.Image,
			Zone: req.Zone, Tags: req.Tags, CreatedAt: p.cfg.Now(),
		}}
		r.Machines[m.ID] = m
		if err := p.openTask(r, makeMachine, m.ID, task{}); err != nil {
			return err
		}
		made = p.showMachine(r, m)
		return nil
	})
	return made, err
}

// GetMachine reads one machine.
func (p *Provider) GetMachine(_ context.Context, id string) (shown provider.Machine, err error) {
	r, err := p.read()
	if err != nil {
		return shown, err
	}
	m, err := find(r.Machines, "machine", id)
	if err != nil {
		return shown, err
	}
	return p.showMachine(r, m), nil
}

// ListMachines lists machines, oldest first.
func (p *Provider) ListMachines(_ context.Context,
	filter provider.Filter) ([]provider.Machine, error) {
	r, err := p.read()
	if err != nil {
		return nil, err
	}
	return list(r.Machines, func(m *machine) bool { return filter.Matches(m.Tags) },
		func(m *machine) provider.Machine { return p.showMachine(r, m) },
		func(m *machine) (time.Time, string) { return m.CreatedAt, m.ID }), nil
}

func (p *Provider) showMachine(r *records, m *machine) provider.Machine {
	shown := m.Machine
	if t := r.open(m.ID); t != nil {
		shown.Reason = p.sentence(r, t)
	}
	return shown
}

// power is a change of a machine's power: from which state, by which task, to which state
// meanwhile.
func (p *Provider) power(ctx context.Context, id, kind string, from,
	already []provider.MachineState, meanwhile provider.MachineState) error {
	return p.change(ctx, func(r *records) error {
		m, err := find(r.Machines, "machine", id)
		if err != nil {
			return err
		}
		for _, state := range already {
			if m.State == state && !r.goes(m) {
				return nil
			}
		}
		for _, state := range from {
			if m.State == state && !r.goes(m) {
				if err := p.openTask(r, kind, id, task{}); err != nil {
					return err
				}
				m.State = meanwhile
				return nil
			}
		}
		return provider.Errorf(provider.ErrIncorrectState, id,
			"machine %s is %s: it cannot be asked to %s", id, m.State, kindTexts[kind])
	})
}

// StartMachine asks an operator to switch a stopped machine on.
func (p *Provider) StartMachine(ctx context.Context, id string) error {
	return p.power(ctx, id, startMachine, states(provider.MachineStopped),
		states(provider.MachineRunning, provider.MachinePending), provider.MachinePending)
}

// StopMachine asks an operator to shut a machine down.
func (p *Provider) StopMachine(ctx context.Context, id string) error {
	return p.power(ctx, id, stopMachine, states(provider.MachineRunning),
		states(provider.MachineStopped, provider.MachineStopping), provider.MachineStopping)
}

// RebootMachine asks an operator to restart a machine.
func (p *Provider) RebootMachine(ctx context.Context, id string) error {
	return p.power(ctx, id, rebootMachine, states(provider.MachineRunning), nil,
		provider.MachineRunning)
}

func states(all ...provider.MachineState) []provider.MachineState { return all }

// TerminateMachine asks an operator to destroy a machine. One that nobody made yet is not wanted
// any more.
func (p *Provider) TerminateMachine(ctx context.Context, id string) error {
	return p.change(ctx, func(r *records) error {
		m, err := find(r.Machines, "machine", id)
		if err != nil || m.State == provider.MachineTerminated || r.goes(m) {
			return err
		}
		if t := r.open(id); t != nil {
			p.withdraw(t, "machine "+id+" is not needed any more: delete what you made for it")
			if t.Kind == makeMachine {
				p.ended(r, m)
				return nil
			}
		}
		if err := p.openTask(r, destroyMachine, id, task{}); err != nil {
			return err
		}
		m.State = provider.MachineStopping
		return nil
	})
}

// goes says whether the machine is to be destroyed.
func (r *records) goes(m *machine) bool {
	t := r.open(m.ID)
	return t != nil && t.Kind == destroyMachine
}

// ended records that a machine is gone: its default volume with it, its others free.
func (l *ledger) ended(r *records, m *machine) {
	m.State, m.EndedAt, m.Reason = provider.MachineTerminated, l.cfg.Now(), ""
	for id, v := range r.Volumes {
		if v.MachineID != m.ID {
			continue
		}
		if t := r.open(id); t != nil && t.MachineID == m.ID {
			l.withdraw(t, "machine "+m.ID+" is gone")
		}
		if v.DeleteOnTermination {
			delete(r.Volumes, id)
			continue
		}
		v.free()
	}
}
