package ec2lab

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateMachine implements Lab.
func (m *Memory) CreateMachine(_ context.Context,
	req provider.CreateMachineRequest) (provider.Machine, error) {
	if err := req.Validate(); err != nil {
		return provider.Machine{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if id, again := m.tokens[req.ClientToken]; again {
		return *m.machines[id], nil
	}
	at := slices.IndexFunc(m.images, func(i provider.Image) bool { return i.Name == req.Image })
	if at < 0 {
		return provider.Machine{}, provider.Errorf(provider.ErrNotFound, "",
			"there is no image %q", req.Image)
	}
	made := &provider.Machine{ID: m.id("i"), Name: req.Name, State: provider.MachineRunning,
		Image: req.Image, Zone: req.Zone, Tags: maps.Clone(req.Tags), CreatedAt: m.Now(),
		StartedAt: m.Now(), Address: fmt.Sprintf("10.0.%d.%d", m.made/250, 1+m.made%250)}
	m.machines[made.ID], m.tokens[req.ClientToken] = made, made.ID
	if d := m.images[at].DefaultVolume; d != nil {
		v := &provider.Volume{ID: m.id("vol"), State: provider.VolumeInUse,
			SizeBytes: d.SizeBytes, Zone: req.Zone, MachineID: made.ID,
			Attachment: provider.AttachmentAttached, DeleteOnTermination: true, Default: true,
			CreatedAt: m.Now()}
		m.volumes[v.ID] = v
	}
	return *made, nil
}

// GetMachine implements Lab.
func (m *Memory) GetMachine(_ context.Context, id string) (provider.Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := known(m.machines, id)
	if err != nil {
		return provider.Machine{}, err
	}
	return *found, nil
}

// ListMachines implements Lab.
func (m *Memory) ListMachines(_ context.Context, f provider.Filter) ([]provider.Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return oldestFirst(m.machines,
		func(i *provider.Machine) bool { return f.Matches(i.Tags) }), nil
}

// StartMachine implements Lab.
func (m *Memory) StartMachine(_ context.Context, id string) error {
	return m.switchTo(id, provider.MachineRunning)
}

// StopMachine implements Lab.
func (m *Memory) StopMachine(_ context.Context, id string) error {
	return m.switchTo(id, provider.MachineStopped)
}

// RebootMachine implements Lab.
func (m *Memory) RebootMachine(_ context.Context, id string) error {
	return m.switchTo(id, provider.MachineRunning)
}

func (m *Memory) switchTo(id string, state provider.MachineState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := known(m.machines, id)
	if err != nil {
		return err
	}
	if found.State == provider.MachineTerminated {
		return provider.Errorf(provider.ErrIncorrectState, id, "machine %s is terminated", id)
	}
	found.State = state
	return nil
}

// TerminateMachine implements Lab.
func (m *Memory) TerminateMachine(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, err := known(m.machines, id)
	if err != nil {
		return err
	}
	found.State = provider.MachineTerminated
	for _, v := range m.volumes {
		switch {
		case v.MachineID != id:
		case v.DeleteOnTermination:
			delete(m.volumes, v.ID)
		default:
			m.detach(v)
		}
	}
	return nil
}

// Forget lets a terminated machine go, as EC2 does after an hour or so.
func (m *Memory) Forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.machines, id)
}
