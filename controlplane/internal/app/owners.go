package app

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

const readAtOnce = 500

// owners tells which record names an object of the provider.
type owners struct{ st *store.Store }

// Owners are the names of resources by the provider's id of machine, volume or snapshot.
func (o owners) Owners(ctx context.Context) (map[string]string, error) {
	named := map[string]string{}
	err := o.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		clear(named)
		all, err := allServers(ctx, tx)
		if err != nil {
			return err
		}
		for _, srv := range all {
			if srv.State != inventory.ServerDeleted {
				named[srv.MachineID] = srv.Subject()
			}
		}
		if err := nameVolumes(ctx, tx, named); err != nil {
			return err
		}
		return nameSnapshots(ctx, tx, named)
	})
	delete(named, "") // of records that have no object yet
	return named, err
}

func nameVolumes(ctx context.Context, tx *store.Tx, named map[string]string) error {
	for token := ""; ; {
		list, next, err := tx.Volumes().List(ctx, store.VolumeFilter{},
			store.Page{Size: readAtOnce, Token: token})
		if err != nil {
			return err
		}
		for _, v := range list {
			if v.State != inventory.VolumeDeleted && v.Server != "" {
				named[v.ProviderID] = inventory.ServerSubject(v.Server)
			}
		}
		if token = next; token == "" {
			return nil
		}
	}
}

func nameSnapshots(ctx context.Context, tx *store.Tx, named map[string]string) error {
	for token := ""; ; {
		list, next, err := tx.Snapshots().List(ctx, store.SnapshotFilter{},
			store.Page{Size: readAtOnce, Token: token})
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.State != inventory.SnapshotDeleted {
				named[s.ProviderID] = s.Subject()
			}
		}
		if token = next; token == "" {
			return nil
		}
	}
}

// allServers reads all server records, page by page.
func allServers(ctx context.Context, tx *store.Tx) (all []inventory.Server, err error) {
	for token := ""; ; {
		list, next, err := tx.Servers().List(ctx, store.ServerFilter{},
			store.Page{Size: readAtOnce, Token: token})
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if token = next; token == "" {
			return all, nil
		}
	}
}
