package query

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Snapshot is a snapshot's record, with the provider's id of the volume that was copied.
type Snapshot struct {
	inventory.Snapshot
	VolumeID string
}

// Snapshots reads snapshots.
type Snapshots struct{ Store *store.Store }

// Get reads a snapshot, or answers inventory.ErrNotFound.
func (s Snapshots) Get(ctx context.Context, id string) (r Snapshot, err error) {
	err = s.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		snap, err := tx.Snapshots().Get(ctx, id)
		if err != nil {
			return err
		}
		all, err := withVolumes(ctx, tx, []inventory.Snapshot{snap})
		if err == nil {
			r = all[0]
		}
		return err
	})
	return r, err
}

// SnapshotFilter narrows a list of snapshots. Zero fields do not narrow.
type SnapshotFilter = store.SnapshotFilter

// List reads a page of the snapshots that the filter lets through, newest first, and the token of
// the next page.
func (s Snapshots) List(ctx context.Context, filter SnapshotFilter, size int,
	token string) (all []Snapshot, next string, err error) {
	err = s.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		var list []inventory.Snapshot
		list, next, err = tx.Snapshots().List(ctx, filter, store.Page{Size: size, Token: token})
		if err != nil {
			return err
		}
		all, err = withVolumes(ctx, tx, list)
		return err
	})
	return all, next, err
}

func withVolumes(ctx context.Context, tx *store.Tx,
	list []inventory.Snapshot) ([]Snapshot, error) {
	var ids []string
	for _, snap := range list {
		ids = append(ids, snap.Volume)
	}
	volumes, err := tx.Volumes().Named(ctx, ids)
	if err != nil {
		return nil, err
	}
	var all []Snapshot
	for _, snap := range list {
		all = append(all, Snapshot{Snapshot: snap, VolumeID: volumes[snap.Volume].ProviderID})
	}
	return all, nil
}
