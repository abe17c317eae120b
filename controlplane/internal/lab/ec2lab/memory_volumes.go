package ec2lab

import (
	"context"
	"maps"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateVolume implements Lab.
func (m *Memory) CreateVolume(_ context.Context,
	req provider.CreateVolumeRequest) (provider.Volume, error) {
	if err := req.Validate(); err != nil {
		return provider.Volume{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if id, again := m.tokens[req.ClientToken]; again {
		v, err := known(m.volumes, id)
		if err != nil {
			return provider.Volume{}, err
		}
		return *v, nil
	}
	size := req.SizeBytes
	if req.SnapshotID != "" {
		s, err := known(m.snapshots, req.SnapshotID)
		if err != nil {
			return provider.Volume{}, err
		}
		if state := m.settled(*s).State; state != provider.SnapshotCompleted {
			return provider.Volume{}, provider.Errorf(provider.ErrIncorrectState, s.ID,
				"snapshot %s is %s", s.ID, state)
		}
		size = max(size, s.SizeBytes)
	}
	v := &provider.Volume{ID: m.id("vol"), State: provider.VolumeAvailable, SizeBytes: size,
		Zone: req.Zone, SnapshotID: req.SnapshotID, Tags: maps.Clone(req.Tags),
		CreatedAt: m.Now()}
	m.volumes[v.ID], m.tokens[req.ClientToken] = v, v.ID
	return *v, nil
}

// GetVolume implements Lab.
func (m *Memory) GetVolume(_ context.Context, id string) (provider.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := known(m.volumes, id)
	if err != nil {
		return provider.Volume{}, err
	}
	return *v, nil
}

// ListVolumes implements Lab.
func (m *Memory) ListVolumes(_ context.Context, f provider.Filter) ([]provider.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return oldestFirst(m.volumes, func(v *provider.Volume) bool {
		return f.Matches(v.Tags) && (f.MachineID == "" || f.MachineID == v.MachineID)
	}), nil
}

// AttachVolume implements Lab.
func (m *Memory) AttachVolume(_ context.Context, id, machine string) (provider.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := known(m.volumes, id)
	if err != nil {
		return provider.Volume{}, err
	}
	if v.MachineID != "" {
		return provider.Volume{}, provider.InUse(id, v.MachineID, "volume %s is in use", id)
	}
	if _, err := known(m.machines, machine); err != nil {
		return provider.Volume{}, err
	}
	v.MachineID, v.State, v.Attachment = machine, provider.VolumeInUse,
		provider.AttachmentAttached
	return *v, nil
}

// DetachVolume implements Lab.
func (m *Memory) DetachVolume(_ context.Context, id, machine string) (provider.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := known(m.volumes, id)
	if err != nil {
		return provider.Volume{}, err
	}
	if v.MachineID != machine {
		return provider.Volume{}, provider.Errorf(provider.ErrIncorrectState, id,
			"volume %s is not attached to %s", id, machine)
	}
	m.detach(v)
	return *v, nil
}

func (m *Memory) detach(v *provider.Volume) {
	v.MachineID, v.State, v.Attachment = "", provider.VolumeAvailable, provider.AttachmentNone
	v.DeleteOnTermination = false
}

// DeleteVolume implements Lab.
func (m *Memory) DeleteVolume(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := known(m.volumes, id)
	if err != nil {
		return err
	}
	if v.MachineID != "" {
		return provider.InUse(id, v.MachineID, "volume %s is in use", id)
	}
	delete(m.volumes, id)
	return nil
}

// GrowVolume implements Lab.
func (m *Memory) GrowVolume(_ context.Context, id string,
	sizeBytes int64) (provider.Volume, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := known(m.volumes, id)
	if err != nil {
		return provider.Volume{}, err
	}
	v.SizeBytes = max(v.SizeBytes, sizeBytes)
	return *v, nil
}

// DeviceNames implements Lab.
func (m *Memory) DeviceNames(id string) []string { return []string{id} }
