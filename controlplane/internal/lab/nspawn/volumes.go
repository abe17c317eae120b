package nspawn

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateVolume records the volume and makes its file.
func (p *Provider) CreateVolume(ctx context.Context,
	req provider.CreateVolumeRequest) (provider.Volume, error) {
	var none provider.Volume
	if err := req.Validate(); err != nil {
		return none, err
	}
	var err error
	if req.Zone, err = p.zone(req.Zone); err != nil {
		return none, err
	}
	if req.Type != "" && req.Type != volumeType {
		return none, provider.Errorf(provider.ErrInvalid, "",
			"volume type %.40q: the only one is %q", req.Type, volumeType)
	}
	unlock, err := p.enter(ctx)
	if err != nil {
		return none, err
	}
	defer unlock()
	volumes, err := allRecords[volumeRecord](p.lab, volumeKind)
	if err != nil {
		return none, err
	}
	params := hashOf([]any{req.SizeBytes, req.SnapshotID, req.Zone, req.Tags})
	for _, v := range volumes {
		if v.Token == req.ClientToken && v.ParamsHash != params {
			return none, tokenReused(req.ClientToken, v.ID)
		}
		if v.Token == req.ClientToken {
			return p.settledVolume(ctx, v), nil
		}
	}
	v, err := p.recordVolume(req, params, volumes)
	if err != nil {
		return none, err
	}
	return p.settledVolume(ctx, v), nil
}

const volumeType = "file"

func (p *Provider) recordVolume(req provider.CreateVolumeRequest, params string,
	others []*volumeRecord) (*volumeRecord, error) {
	size, err := p.sizeOf(req)
	if err != nil {
		return nil, err
	}
	if err := p.checkVolumeLimits(size, others); err != nil {
		return nil, err
	}
	v := &volumeRecord{ID: newID("vol"), Token: req.ClientToken, ParamsHash: params, Tags: req.Tags,
		SizeBytes: size,
		Type:      volumeType, Zone: req.Zone, SnapshotID: req.SnapshotID, CreatedAt: p.cfg.Now()}
	return v, saveRecord(p.lab, volumeKind, v.ID, v)
}

// sizeOf is the size asked for, or that of the snapshot, which must be there and complete.
func (p *Provider) sizeOf(req provider.CreateVolumeRequest) (int64, error) {
	if req.SnapshotID == "" {
		return req.SizeBytes, nil
	}
	s, err := p.loadSnapshot(req.SnapshotID)
	if err != nil {
		return 0, err
	}
	if shown := p.showSnapshot(s); shown.State != provider.SnapshotCompleted {
		return 0, provider.Errorf(provider.ErrIncorrectState, s.ID,
			"snapshot %s is %s: wait until it is completed", s.ID, shown.State)
	}
	if req.SizeBytes != 0 && req.SizeBytes < s.SizeBytes {
		return 0, provider.Errorf(provider.ErrInvalid, s.ID,
			"volume size %d is smaller than snapshot %s with %d bytes", req.SizeBytes, s.ID,
			s.SizeBytes)
	}
	return max(req.SizeBytes, s.SizeBytes), nil
}

func (p *Provider) checkVolumeLimits(size int64, others []*volumeRecord) error {
	if size > p.cfg.Limits.VolumeBytes {
		return provider.Errorf(provider.ErrLimitExceeded, "",
			"volume size %d is above the limit of %d bytes", size, p.cfg.Limits.VolumeBytes)
	}
	count := 0
	for _, v := range others {
		if v.DeletedAt.IsZero() {
			count++
		}
	}
	if count >= p.cfg.Limits.Volumes {
		return provider.Errorf(provider.ErrLimitExceeded, "",
			"lab %s has %d volumes, its limit: delete some", p.cfg.Name, count)
	}
	return nil
}

// GetVolume reads one volume.
func (p *Provider) GetVolume(ctx context.Context, id string) (provider.Volume, error) {
	var shown provider.Volume
	err := p.withVolume(ctx, id, func(v *volumeRecord) error {
		shown = p.showVolume(v)
		return nil
	})
	return shown, err
}

// ListVolumes lists volumes, oldest first.
func (p *Provider) ListVolumes(ctx context.Context,
	filter provider.Filter) ([]provider.Volume, error) {
	unlock, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	records, err := allRecords[volumeRecord](p.lab, volumeKind)
	if err != nil {
		return nil, err
	}
	var list []provider.Volume
	for _, v := range records {
		if !filter.Matches(v.Tags) || filter.MachineID != "" && v.MachineID != filter.MachineID {
			continue
		}
		shown := p.settledVolume(ctx, v)
		if shown.State == provider.VolumeDeleted || filter.MachineID != "" &&
			shown.MachineID != filter.MachineID {
			continue
		}
		list = append(list, shown)
	}
	return byCreation(list, func(v provider.Volume) time.Time { return v.CreatedAt }), nil
}

// DeleteVolume deletes a volume that is attached nowhere.
func (p *Provider) DeleteVolume(ctx context.Context, id string) error {
	return p.withVolume(ctx, id, func(v *volumeRecord) error {
		if v.MachineID != "" {
			return volumeInUse(v)
		}
		if v.DeletedAt.IsZero() {
			v.DeletedAt = p.cfg.Now()
		}
		return p.saveAndSettle(ctx, v)
	})
}

// GrowVolume makes a volume larger.
func (p *Provider) GrowVolume(ctx context.Context, id string,
	sizeBytes int64) (provider.Volume, error) {
	var shown provider.Volume
	if err := provider.ValidateSize(sizeBytes); err != nil {
		return shown, err
	}
	err := p.withVolume(ctx, id, func(v *volumeRecord) error {
		state := p.volumeState(v)
		switch {
		case sizeBytes < v.SizeBytes:
			return provider.Errorf(provider.ErrInvalid, id,
				"volume %s has %d bytes and cannot shrink to %d", id, v.SizeBytes, sizeBytes)
		case state != provider.VolumeAvailable && state != provider.VolumeInUse:
			return wrongState(v, state, "grown")
		}
		if err := p.checkVolumeLimits(sizeBytes, nil); err != nil {
			return err
		}
		v.SizeBytes = sizeBytes
		err := p.saveAndSettle(ctx, v)
		shown = p.showVolume(v)
		return err
	})
	return shown, err
}

// DeviceNames is one name, by the lab's pattern.
func (p *Provider) DeviceNames(
	volumeID string) []string {
	return []string{p.lab.deviceName(volumeID)}
}

// withVolume acts on a settled volume that is not deleted, under the lab's lock.
func (p *Provider) withVolume(ctx context.Context, id string, act func(*volumeRecord) error) error {
	unlock, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if kindOf(id) != volumeKind {
		return provider.Errorf(provider.ErrNotFound, "",
			"volume %.40q not found: that is not the ID of a volume", id)
	}
	v, err := loadRecord[volumeRecord](p.lab, volumeKind, id)
	if err != nil {
		return err
	}
	if p.settledVolume(ctx, v).State == provider.VolumeDeleted {
		return provider.Errorf(provider.ErrNotFound, id, "volume %s not found: it was deleted", id)
	}
	return act(v)
}

func (p *Provider) saveAndSettle(ctx context.Context, v *volumeRecord) error {
	if err := saveRecord(p.lab, volumeKind, v.ID, v); err != nil {
		return err
	}
	return p.settleVolume(ctx, v)
}

func volumeInUse(v *volumeRecord) error {
	return provider.InUse(v.ID, v.MachineID, "volume %s is attached to machine %s", v.ID,
		v.MachineID)
}

func wrongState(v *volumeRecord, state provider.VolumeState, done string) error {
	return provider.Errorf(provider.ErrIncorrectState, v.ID, "volume %s cannot be %s: it is %s",
		v.ID, done, state)
}
