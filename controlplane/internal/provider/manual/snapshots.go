package manual

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateSnapshot asks an operator to copy the volume. It is completed when the operator says so;
// see provider.Manual.
func (p *Provider) CreateSnapshot(ctx context.Context,
	req provider.CreateSnapshotRequest) (made provider.Snapshot, err error) {
	if err := provider.ValidateTags(req.Tags); err != nil {
		return made, err
	}
	err = p.change(ctx, func(r *records) error {
		v, err := find(r.Volumes, "volume", req.VolumeID)
		if err != nil {
			return err
		}
		if v.State != provider.VolumeAvailable && v.State != provider.VolumeInUse {
			return provider.Errorf(provider.ErrIncorrectState, v.ID,
				"volume %s is %s: it cannot be copied", v.ID, v.State)
		}
		s := &snapshot{Snapshot: provider.Snapshot{
			ID: newID("snap"), State: provider.SnapshotPending, VolumeID: v.ID,
			SizeBytes: v.SizeBytes, Tags: req.Tags, CreatedAt: p.cfg.Now(),
		}}
		r.Snapshots[s.ID] = s
		if err := p.openTask(r, takeSnapshot, s.ID,
			task{Task: provider.Task{MachineID: v.MachineID, VolumeID: v.ID, Device: v.Device,
				Label: v.Label}}); err != nil {
			return err
		}
		made = p.showSnapshot(r, s)
		return nil
	})
	return made, err
}

// GetSnapshot reads one snapshot.
func (p *Provider) GetSnapshot(_ context.Context, id string) (shown provider.Snapshot, err error) {
	r, err := p.read()
	if err != nil {
		return shown, err
	}
	s, err := find(r.Snapshots, "snapshot", id)
	if err != nil {
		return shown, err
	}
	return p.showSnapshot(r, s), nil
}

// ListSnapshots lists snapshots, oldest first.
func (p *Provider) ListSnapshots(_ context.Context,
	filter provider.Filter) ([]provider.Snapshot, error) {
	r, err := p.read()
	if err != nil {
		return nil, err
	}
	return list(r.Snapshots, func(s *snapshot) bool { return filter.Matches(s.Tags) },
		func(s *snapshot) provider.Snapshot { return p.showSnapshot(r, s) },
		func(s *snapshot) (time.Time, string) { return s.CreatedAt, s.ID }), nil
}

func (p *Provider) showSnapshot(r *records, s *snapshot) provider.Snapshot {
	shown := s.Snapshot
	if t := r.open(s.ID); t != nil {
		shown.Reason = p.sentence(r, t)
	}
	return shown
}

// DeleteSnapshot forgets the snapshot and asks an operator to delete the copy. One that was not
// confirmed is worthless: its task is withdrawn.
func (p *Provider) DeleteSnapshot(ctx context.Context, id string) error {
	return p.change(ctx, func(r *records) error {
		s, err := find(r.Snapshots, "snapshot", id)
		if err != nil {
			return err
		}
		delete(r.Snapshots, id)
		if t := r.open(id); t != nil {
			p.withdraw(t, "the copy was not confirmed while the data held still: delete what "+
				"there is of it")
			return nil
		}
		if s.State == provider.SnapshotError {
			return nil
		}
		return p.openTask(r, deleteSnapshot, id,
			task{Task: provider.Task{Label: s.Label, VolumeID: s.VolumeID, Tags: s.Tags}})
	})
}
