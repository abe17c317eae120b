package nspawn

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// CreateSnapshot records the snapshot and clones the volume's file. Unlike everything else
// it is never completed later: that would be another point in time.
func (p *Provider) CreateSnapshot(ctx context.Context,
	req provider.CreateSnapshotRequest) (provider.Snapshot, error) {
	var shown provider.Snapshot
	if err := provider.ValidateTags(req.Tags); err != nil {
		return shown, err
	}
	err := p.withVolume(ctx, req.VolumeID, func(v *volumeRecord) error {
		state := p.volumeState(v)
		if state != provider.VolumeAvailable && state != provider.VolumeInUse {
			return wrongState(v, state, "snapshotted")
		}
		if err := p.checkSnapshotLimit(); err != nil {
			return err
		}
		s := &snapshotRecord{ID: newID("snap"), VolumeID: v.ID, SizeBytes: v.SizeBytes,
			Tags: req.Tags, CreatedAt: p.cfg.Now()}
		if err := saveRecord(p.lab, snapshotKind, s.ID, s); err != nil {
			return err
		}
		err := p.lab.cut(s)
		shown = p.showSnapshot(s)
		return err
	})
	return shown, err
}

// cut ends with a rename: a file by the snapshot's name says that it was taken.
func (l lab) cut(s *snapshotRecord) error {
	file := l.snapshotFile(s.ID)
	err := cloneFile(l.volumeFile(s.VolumeID), file+".new")
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err == nil {
		return atomicfile.SyncDir(l.pool("snapshots"))
	}
	s.Error = "cannot copy the volume: " + err.Error()
	return errors.Join(err, removeFile(file+".new"), saveRecord(l, snapshotKind, s.ID, s))
}

func (p *Provider) checkSnapshotLimit() error {
	all, err := allRecords[snapshotRecord](p.lab, snapshotKind)
	if err != nil {
		return err
	}
	count := 0
	for _, s := range all {
		if s.DeletedAt.IsZero() {
			count++
		}
	}
	if count >= p.cfg.Limits.Snapshots {
		return provider.Errorf(provider.ErrLimitExceeded, "",
			"lab %s has %d snapshots, its limit: delete some", p.cfg.Name, count)
	}
	return nil
}

// GetSnapshot reads one snapshot.
func (p *Provider) GetSnapshot(ctx context.Context, id string) (provider.Snapshot, error) {
	unlock, err := p.enter(ctx)
	if err != nil {
		return provider.Snapshot{}, err
	}
	defer unlock()
	s, err := p.loadSnapshot(id)
	if err != nil {
		return provider.Snapshot{}, err
	}
	return p.showSnapshot(s), nil
}

// ListSnapshots lists snapshots, oldest first.
func (p *Provider) ListSnapshots(ctx context.Context,
	filter provider.Filter) ([]provider.Snapshot, error) {
	unlock, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	records, err := allRecords[snapshotRecord](p.lab, snapshotKind)
	if err != nil {
		return nil, err
	}
	var list []provider.Snapshot
	for _, s := range records {
		if !filter.Matches(s.Tags) {
			continue
		}
		if gone, err := p.settleSnapshot(s); err != nil {
			return nil, err
		} else if !gone {
			list = append(list, p.showSnapshot(s))
		}
	}
	return byCreation(list, func(s provider.Snapshot) time.Time { return s.CreatedAt }), nil
}

// DeleteSnapshot deletes a snapshot.
func (p *Provider) DeleteSnapshot(ctx context.Context, id string) error {
	unlock, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := p.loadSnapshot(id)
	if err != nil {
		return err
	}
	s.DeletedAt = p.cfg.Now()
	if err := saveRecord(p.lab, snapshotKind, s.ID, s); err != nil {
		return err
	}
	_, err = p.settleSnapshot(s)
	return err
}

func (p *Provider) loadSnapshot(id string) (*snapshotRecord, error) {
	if kindOf(id) != snapshotKind {
		return nil, provider.Errorf(provider.ErrNotFound, "",
			"snapshot %.40q not found: that is not the ID of a snapshot", id)
	}
	s, err := loadRecord[snapshotRecord](p.lab, snapshotKind, id)
	if err != nil {
		return nil, err
	}
	gone, err := p.settleSnapshot(s)
	if gone && err == nil {
		err = provider.Errorf(provider.ErrNotFound, id, "snapshot %s not found: it was deleted", id)
	}
	return s, err
}

// settleSnapshot completes a deletion; whoever reads a snapshot holds the lock, so one
// without a file is one whose taking was killed.
func (p *Provider) settleSnapshot(s *snapshotRecord) (gone bool, err error) {
	file := p.lab.snapshotFile(s.ID)
	if !s.DeletedAt.IsZero() {
		return true, errors.Join(removeFile(file+".new"), removeFile(file))
	}
	if _, err := os.Stat(file); err != nil && s.Error == "" {
		s.Error = "interrupted before its point in time: delete it and take another"
		return false, saveRecord(p.lab, snapshotKind, s.ID, s)
	}
	return false, nil
}

func (p *Provider) showSnapshot(s *snapshotRecord) provider.Snapshot {
	shown := provider.Snapshot{ID: s.ID, State: provider.SnapshotCompleted, Progress: 100,
		Reason: s.Error, VolumeID: s.VolumeID,
		SizeBytes: s.SizeBytes, Tags: s.Tags, CreatedAt: s.CreatedAt}
	switch delay := p.cfg.Delays.Snapshot; {
	case s.Error != "":
		shown.State, shown.Progress = provider.SnapshotError, 0
	case !p.since(s.CreatedAt, delay):
		shown.State = provider.SnapshotPending
		shown.Progress = int(100 * p.cfg.Now().Sub(s.CreatedAt) / delay)
	}
	return shown
}
