package manual

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/size"
)

// CreateVolume asks an operator for a volume.
func (p *Provider) CreateVolume(ctx context.Context,
	req provider.CreateVolumeRequest) (made provider.Volume, err error) {
	if err := req.Validate(); err != nil {
		return made, err
	}
	if req.Zone, err = zoneOf(req.Zone); err != nil {
		return made, err
	}
	if !typeName.MatchString(req.Type) {
		return made, provider.Errorf(provider.ErrInvalid, "", "volume type %.50q is not a word",
			req.Type)
	}
	params := paramsOf([]any{req.SizeBytes, req.SnapshotID, req.Zone, req.Type, req.Tags})
	err = p.change(ctx, func(r *records) error {
		for _, v := range r.Volumes {
			if v.Token == req.ClientToken {
				made = p.showVolume(r, v)
				if v.Params != params {
					return tokenReused(req.ClientToken, v.ID)
				}
				return nil
			}
		}
		size, err := r.sizeFor(req)
		if err != nil {
			return err
		}
		v := &volume{Token: req.ClientToken, Params: params, Volume: provider.Volume{
			ID: newID("vol"), State: provider.VolumeCreating, SizeBytes: size, Type: req.Type,
			Zone: req.Zone, SnapshotID: req.SnapshotID, Tags: req.Tags,
			CreatedAt: p.cfg.Now(),
		}}
		r.Volumes[v.ID] = v
		if err := p.openTask(r, makeVolume, v.ID, task{}); err != nil {
			return err
		}
		made = p.showVolume(r, v)
		return nil
	})
	return made, err
}

// sizeFor is the size of a new volume; it is never smaller than its snapshot.
func (r *records) sizeFor(req provider.CreateVolumeRequest) (int64, error) {
	if req.SnapshotID == "" {
		return req.SizeBytes, nil
	}
	s, err := find(r.Snapshots, "snapshot", req.SnapshotID)
	switch {
	case err != nil:
		return 0, err
	case s.State != provider.SnapshotCompleted:
		return 0, provider.Errorf(provider.ErrIncorrectState, s.ID,
			"snapshot %s is %s: wait until it is completed", s.ID, s.State)
	case req.SizeBytes == 0:
		return s.SizeBytes, nil
	case req.SizeBytes < s.SizeBytes:
		return 0, provider.Errorf(provider.ErrInvalid, s.ID,
			"a volume of %s is smaller than snapshot %s with %s", size.Exact(req.SizeBytes), s.ID,
			size.Exact(s.SizeBytes))
	}
	return req.SizeBytes, nil
}

// GetVolume reads one volume, having asked its host if that can show something new.
func (p *Provider) GetVolume(ctx context.Context, id string) (shown provider.Volume, err error) {
	r, err := p.settled(ctx, func(v *volume) bool { return v.ID == id }, observeAgain)
	if err != nil {
		return shown, err
	}
	v, err := find(r.Volumes, "volume", id)
	if err != nil {
		return shown, err
	}
	return p.showVolume(r, v), nil
}

// ListVolumes lists volumes, oldest first, having asked the hosts that can show something new.
func (p *Provider) ListVolumes(ctx context.Context,
	filter provider.Filter) ([]provider.Volume, error) {
	fits := func(v *volume) bool {
		return filter.Matches(v.Tags) && (filter.MachineID == "" || v.MachineID == filter.MachineID)
	}
	r, err := p.settled(ctx, fits, observeAgain)
	if err != nil {
		return nil, err
	}
	return list(r.Volumes, fits, func(v *volume) provider.Volume { return p.showVolume(r, v) },
		func(v *volume) (time.Time, string) { return v.CreatedAt, v.ID }), nil
}

func (p *Provider) showVolume(r *records, v *volume) provider.Volume {
	shown := v.Volume
	if t := r.open(v.ID); t != nil {
		shown.Reason = p.sentence(r, t)
	}
	return shown
}

// DeviceNames is the one name that the operator said; none while it is not known.
func (p *Provider) DeviceNames(volumeID string) []string {
	r, err := p.read()
	if err != nil || r.Volumes[volumeID] == nil || r.Volumes[volumeID].Device == "" {
		return nil
	}
	return []string{r.Volumes[volumeID].Device}
}

// changeVolume changes one volume, and shows it then.
func (p *Provider) changeVolume(ctx context.Context, id string,
	change func(r *records, v *volume) error) (shown provider.Volume, err error) {
	err = p.change(ctx, func(r *records) error {
		v, err := find(r.Volumes, "volume", id)
		if err != nil {
			return err
		}
		if err := change(r, v); err != nil {
			return err
		}
		shown = p.showVolume(r, v)
		return nil
	})
	return shown, err
}

// AttachVolume asks an operator to attach the volume.
func (p *Provider) AttachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	return p.changeVolume(ctx, id, func(r *records, v *volume) error {
		m, err := find(r.Machines, "machine", machineID)
		if err != nil {
			return err
		}
		switch {
		case v.MachineID != "":
			return inUse(v)
		case v.State != provider.VolumeAvailable:
			return provider.Errorf(provider.ErrIncorrectState, id,
				"volume %s is %s: it cannot be attached", id, v.State)
		case m.State != provider.MachineRunning && m.State != provider.MachineStopped:
			return provider.Errorf(provider.ErrIncorrectState, machineID,
				"machine %s is %s: it cannot be given a volume", machineID, m.State)
		}
		if err := p.openTask(r, attachVolume, id,
			task{Task: provider.Task{MachineID: machineID}}); err != nil {
			return err
		}
		v.State, v.MachineID, v.Attachment = provider.VolumeInUse, machineID,
			provider.AttachmentAttaching
		return nil
	})
}

func inUse(v *volume) error {
	return provider.InUse(v.ID, v.MachineID, "volume %s is attached to machine %s", v.ID,
		v.MachineID)
}

// DetachVolume asks an operator to detach the volume.
func (p *Provider) DetachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	return p.changeVolume(ctx, id, func(r *records, v *volume) error {
		if v.MachineID == "" || v.MachineID != machineID {
			return provider.Errorf(provider.ErrIncorrectState, id,
				"volume %s is not attached to machine %.40q", id, machineID)
		}
		if v.Attachment != provider.AttachmentDetaching {
			if t := r.open(id); t != nil {
				p.withdraw(t, "the volume is to be detached again")
			}
			if err := p.openTask(r, detachVolume, id,
				task{Task: provider.Task{MachineID: machineID}}); err != nil {
				return err
			}
			v.Attachment = provider.AttachmentDetaching
		}
		return nil
	})
}

// DeleteVolume asks an operator to delete the volume. One that nobody made yet is not needed any
// more.
func (p *Provider) DeleteVolume(ctx context.Context, id string) error {
	return p.change(ctx, func(r *records) error {
		v, err := find(r.Volumes, "volume", id)
		if err != nil || v.State == provider.VolumeDeleting {
			return err
		}
		if v.MachineID != "" {
			return inUse(v)
		}
		if t := r.open(id); t != nil {
			p.withdraw(t, "volume "+id+" is not needed any more: delete what you made for it")
		}
		if v.Device == "" { // never made
			delete(r.Volumes, id)
			return nil
		}
		if err := p.openTask(r, deleteVolume, id, task{}); err != nil {
			return err
		}
		v.State = provider.VolumeDeleting
		return nil
	})
}

// GrowVolume asks an operator to make the volume larger.
func (p *Provider) GrowVolume(ctx context.Context, id string,
	sizeBytes int64) (provider.Volume, error) {
	if err := provider.ValidateSize(sizeBytes); err != nil {
		return provider.Volume{}, err
	}
	return p.changeVolume(ctx, id, func(r *records, v *volume) error {
		switch {
		case sizeBytes == v.SizeBytes:
			return nil
		case sizeBytes < v.SizeBytes:
			return provider.Errorf(provider.ErrInvalid, id,
				"volume %s has %s: it cannot shrink to %s", id, size.Exact(v.SizeBytes),
				size.Exact(sizeBytes))
		case r.open(id) != nil || v.State != provider.VolumeAvailable &&
			v.State != provider.VolumeInUse:
			return provider.Errorf(provider.ErrIncorrectState, id,
				"volume %s waits for something else: %s", id, p.showVolume(r, v).Reason)
		}
		if err := p.openTask(r, growVolume, id, task{Task: provider.Task{SizeBytes: sizeBytes},
			Former: v.SizeBytes}); err != nil {
			return err
		}
		v.SizeBytes = sizeBytes
		return nil
	})
}

// free records that the volume is attached nowhere.
func (v *volume) free() {
	v.MachineID, v.Attachment = "", provider.AttachmentNone
	if v.State == provider.VolumeInUse {
		v.State = provider.VolumeAvailable
	}
}
