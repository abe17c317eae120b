package store

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// VolumeFilter narrows a list of volumes. Zero fields do not narrow.
type VolumeFilter struct {
	Server   string
	State    inventory.VolumeState
	Snapshot string
	Job      string
}

// Volumes keeps volume records, by id.
type Volumes struct{ Repo[inventory.Volume] }

// Volumes gives the volume records.
func (tx *Tx) Volumes() Volumes {
	return Volumes{Repo[inventory.Volume]{tx: tx, t: table[inventory.Volume]{
		name: "volumes", noun: "volume", list: "ListObjects", key: "id",
		columns: []string{"state", "server", "snapshot", "job"},
		values: func(v *inventory.Volume) []any {
			return []any{v.State, v.Server, v.Snapshot, v.Job}
		},
		meta: func(v *inventory.Volume) meta {
			return meta{key: v.ID, rev: &v.Rev, created: &v.Created, updated: &v.Updated}
		},
	}}}
}

// List reads a page of volumes by id, and the token of the next page (empty at the end).
func (v Volumes) List(ctx context.Context, f VolumeFilter,
	p Page) ([]inventory.Volume, string, error) {
	var where conditions
	where.equal("server", f.Server)
	where.equal("state", string(f.State))
	where.equal("snapshot", f.Snapshot)
	where.equal("job", f.Job)
	return v.list(ctx, f, where, p)
}

// OfServer reads all volumes that were ever a server's, by id.
func (v Volumes) OfServer(ctx context.Context, server string) (all []inventory.Volume, err error) {
	for p := (Page{}); ; {
		var page []inventory.Volume
		if page, p.Token, err = v.List(ctx, VolumeFilter{Server: server}, p); err != nil {
			return nil, err
		}
		if all = append(all, page...); p.Token == "" {
			return all, nil
		}
	}
}
