package faults

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateVolume may be throttled, lose its answer, or make a volume that is stuck.
func (p *Provider) CreateVolume(ctx context.Context,
	req provider.CreateVolumeRequest) (provider.Volume, error) {
	return call(p, "CreateVolume", func() (provider.Volume, error) {
		v, err := p.Provider.CreateVolume(ctx, req)
		if err == nil && p.take(&p.cfg.StickVolumes) {
			p.mu.Lock()
			p.stuck[v.ID] = true
			p.mu.Unlock()
		}
		return p.showVolume(v), err
	})
}

// GetVolume shows stuck volumes and attaches that are under way.
func (p *Provider) GetVolume(ctx context.Context, id string) (provider.Volume, error) {
	return call(p, "GetVolume", func() (provider.Volume, error) {
		v, err := p.Provider.GetVolume(ctx, id)
		return p.showVolume(v), err
	})
}

// ListVolumes shows stuck volumes and attaches that are under way.
func (p *Provider) ListVolumes(ctx context.Context,
	filter provider.Filter) ([]provider.Volume, error) {
	return call(p, "ListVolumes", func() ([]provider.Volume, error) {
		all, err := p.Provider.ListVolumes(ctx, provider.Filter{Tags: filter.Tags})
		var list []provider.Volume
		for _, v := range all {
			if v = p.showVolume(v); filter.MachineID == "" || v.MachineID == filter.MachineID {
				list = append(list, v)
			}
		}
		return list, err
	})
}

// AttachVolume accepts at once and tells the wrapped provider after DeviceDelay, as a
// cloud whose device takes its time.
func (p *Provider) AttachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	return call(p, "AttachVolume", func() (provider.Volume, error) {
		if p.cfg.DeviceDelay == 0 {
			return p.Provider.AttachVolume(ctx, id, machineID)
		}
		v, err := p.Provider.GetVolume(ctx, id)
		if err != nil {
			return v, err
		}
		shown := p.showVolume(v)
		if shown.MachineID != "" && v.MachineID == "" {
			return v, underWay(shown)
		}
		if shown.State != provider.VolumeAvailable {
			return p.Provider.AttachVolume(ctx, id, machineID) // whose refusal is the right one
		}
		p.plugLater(context.WithoutCancel(ctx), id, machineID)
		return p.showVolume(v), nil
	})
}

func underWay(v provider.Volume) error {
	return provider.InUse(v.ID, v.MachineID, "volume %s is attached to machine %s", v.ID,
		v.MachineID)
}

func (p *Provider) plugLater(ctx context.Context, id, machineID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	coming := &plug{machine: machineID}
	p.plugging[id] = coming
	p.pending.Add(1)
	coming.timer = time.AfterFunc(p.cfg.DeviceDelay, func() {
		defer p.pending.Done()
		_, err := p.Provider.AttachVolume(ctx, id, machineID)
		p.mu.Lock()
		defer p.mu.Unlock()
		if coming.err = err; err == nil {
			delete(p.plugging, id)
		}
	})
}

// DetachVolume may be throttled or lose its answer.
func (p *Provider) DetachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	return call(p, "DetachVolume",
		func() (provider.Volume, error) { return p.Provider.DetachVolume(ctx, id, machineID) })
}

// DeleteVolume may be throttled or lose its answer.
func (p *Provider) DeleteVolume(ctx context.Context, id string) error {
	return callOnly(p, "DeleteVolume", func() error { return p.Provider.DeleteVolume(ctx, id) })
}

// GrowVolume may be throttled or lose its answer.
func (p *Provider) GrowVolume(ctx context.Context, id string,
	sizeBytes int64) (provider.Volume, error) {
	return call(p, "GrowVolume",
		func() (provider.Volume, error) { return p.Provider.GrowVolume(ctx, id, sizeBytes) })
}

// CreateSnapshot may be throttled, lose its answer, or begin a snapshot that fails.
func (p *Provider) CreateSnapshot(ctx context.Context,
	req provider.CreateSnapshotRequest) (provider.Snapshot, error) {
	return call(p, "CreateSnapshot", func() (provider.Snapshot, error) {
		s, err := p.Provider.CreateSnapshot(ctx, req)
		if err == nil && p.take(&p.cfg.FailSnapshots) {
			p.mu.Lock()
			p.failed[s.ID] = true
			p.mu.Unlock()
		}
		return s, err // a snapshot fails later, when nobody holds anything any more
	})
}

// GetSnapshot shows snapshots that failed.
func (p *Provider) GetSnapshot(ctx context.Context, id string) (provider.Snapshot, error) {
	return call(p, "GetSnapshot", func() (provider.Snapshot, error) {
		s, err := p.Provider.GetSnapshot(ctx, id)
		return p.showSnapshot(s), err
	})
}

// ListSnapshots shows snapshots that failed.
func (p *Provider) ListSnapshots(ctx context.Context,
	filter provider.Filter) ([]provider.Snapshot, error) {
	return call(p, "ListSnapshots", func() ([]provider.Snapshot, error) {
		list, err := p.Provider.ListSnapshots(ctx, filter)
		for i := range list {
			list[i] = p.showSnapshot(list[i])
		}
		return list, err
	})
}

// DeleteSnapshot may be throttled or lose its answer.
func (p *Provider) DeleteSnapshot(ctx context.Context, id string) error {
	return callOnly(p, "DeleteSnapshot", func() error { return p.Provider.DeleteSnapshot(ctx, id) })
}

// SetTags may be throttled or lose its answer.
func (p *Provider) SetTags(ctx context.Context, id string, tags map[string]string) error {
	return callOnly(p, "SetTags", func() error { return p.Provider.SetTags(ctx, id, tags) })
}

func (p *Provider) showVolume(v provider.Volume) provider.Volume {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck[v.ID] {
		v.State = provider.VolumeCreating
	}
	if coming := p.plugging[v.ID]; coming != nil && v.MachineID == "" {
		v.State, v.MachineID, v.Attachment = provider.VolumeInUse, coming.machine,
			provider.AttachmentAttaching
		if coming.err != nil {
			v.Reason = coming.err.Error()
		}
	}
	return v
}

func (p *Provider) showSnapshot(s provider.Snapshot) provider.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed[s.ID] {
		s.State, s.Progress, s.Reason = provider.SnapshotError, 0, "internal error of the storage"
	}
	return s
}
