package query

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Owners tells which record names an object of the provider.
type Owners struct{ Store *store.Store }

// Owners are the names of resources by the provider's id of machine, volume or snapshot.
func (o Owners) Owners(ctx context.Context) (map[string]string, error) {
	named := map[string]string{}
	err := o.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		clear(named)
		servers, err := tx.Servers().All(ctx)
		if err != nil {
			return err
		}
		volumes, err := tx.Volumes().All(ctx)
		if err != nil {
			return err
		}
		snapshots, err := tx.Snapshots().All(ctx)
		if err != nil {
			return err
		}
		for _, srv := range servers {
			if srv.State != inventory.ServerDeleted {
				named[srv.MachineID] = srv.Subject()
			}
		}
		for _, v := range volumes {
			if v.State != inventory.VolumeDeleted && v.Server != "" {
				named[v.ProviderID] = inventory.ServerSubject(v.Server)
			}
		}
		for _, s := range snapshots {
			if s.State != inventory.SnapshotDeleted {
				named[s.ProviderID] = s.Subject()
			}
		}
		return nil
	})
	delete(named, "") // of records that have no object yet
	return named, err
}
