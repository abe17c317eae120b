package workflowtest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// SnapshotRoom implements provider.Pacer: this cloud knows no more than its caller.
func (v cloudView) SnapshotRoom(_ context.Context, id string, last time.Time) error {
	v.c.w.Mu.Lock()
	defer v.c.w.Mu.Unlock()
	if v.c.w.now().Sub(last) < v.c.Pace {
		return provider.Throttled(nil, v.c.Pace, "too soon for another of %s", id)
	}
	return nil
}

func (v cloudView) CreateSnapshot(ctx context.Context,
	req provider.CreateSnapshotRequest) (snap provider.Snapshot, err error) {
	err = v.call(ctx, "CreateSnapshot", true, func() error {
		vol, err := v.volume(req.VolumeID)
		if err != nil {
			return err
		}
		last := v.c.asked[vol.ID]
		v.c.asked[vol.ID] = v.c.w.now()
		if v.c.w.now().Sub(last) < v.c.Pace {
			v.c.Refused++
			return provider.Throttled(nil, v.c.Pace, "too soon after the last of %s", vol.ID)
		}
		snap = provider.Snapshot{ID: v.c.id("snap"), State: provider.SnapshotPending,
			VolumeID: vol.ID, SizeBytes: vol.SizeBytes, Tags: req.Tags}
		snap.CreatedAt = v.c.w.now()
		made := snap
		v.c.cutBy[snap.ID] = v.p
		v.c.Snapshots[snap.ID], v.c.Disks[snap.ID], v.c.Settling[snap.ID] = &made,
			v.c.Disks[vol.ID].clone(), 2+v.c.SlowCut
		return nil
	})
	return snap, err
}

func (v cloudView) GetSnapshot(ctx context.Context, id string) (snap provider.Snapshot, err error) {
	err = v.call(ctx, "GetSnapshot", false, func() error {
		found, ok := v.c.Snapshots[id]
		if !ok {
			return provider.Errorf(provider.ErrNotFound, id, "no snapshot %s", id)
		}
		if found.State == provider.SnapshotPending && !v.c.Still && v.c.settles(id) {
			found.State, found.Progress = provider.SnapshotCompleted, 100
		}
		snap = *found
		return nil
	})
	return snap, err
}

func (v cloudView) ListSnapshots(ctx context.Context,
	f provider.Filter) (list []provider.Snapshot, err error) {
	v.c.w.Mu.Lock()
	late, waits := v.c.Late, f.Complete || !v.c.Blind
	v.c.w.Mu.Unlock()
	if !f.MadeUntil.IsZero() && waits {
		<-time.After(time.Until(f.MadeUntil.Add(late)))
	}
	err = v.call(ctx, "ListSnapshots", false, func() error {
		for _, id := range slices.Sorted(maps.Keys(v.c.Snapshots)) {
			shown := v.c.cutBy[id] == v.p || v.c.w.now().Sub(v.c.Snapshots[id].CreatedAt) >= late
			if snap := v.c.Snapshots[id]; shown && f.Matches(snap.Tags) {
				list = append(list, *snap)
			}
		}
		return nil
	})
	return list, err
}

func (v cloudView) DeleteSnapshot(ctx context.Context, id string) error {
	return v.call(ctx, "DeleteSnapshot", true, func() error {
		if _, ok := v.c.Snapshots[id]; !ok {
			return provider.Errorf(provider.ErrNotFound, id, "no snapshot %s", id)
		}
		delete(v.c.Snapshots, id)
		delete(v.c.Disks, id)
		return nil
	})
}
