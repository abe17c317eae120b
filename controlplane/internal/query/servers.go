// Package query has the read models: what the services show, read from the store with a constant
// number of statements for a list.
package query

import (
	"context"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Server is a server's record with what belongs to it.
type Server struct {
	inventory.Server
	// Volumes are those that the record names, by their own id.
	Volumes map[string]inventory.Volume
	// Snapshot is the id of the snapshot that it was made from; may be empty.
	Snapshot string
	// Jobs are those on it that have not ended, the newest first, without their steps.
	Jobs []job.Job
}

// ProviderID is how the provider names a volume of the server; our own id where the record of the
// volume is missing.
func (s Server) ProviderID(volume string) string {
	if v, ok := s.Volumes[volume]; ok && v.ProviderID != "" {
		return v.ProviderID
	}
	return volume
}

// Servers reads servers.
type Servers struct {
	Store *store.Store
	// Shown is a record as it is shown: UNKNOWN may take the place of READY, for a reason, and
	// nothing else changes. It is not called within a transaction. nil: as it is on record.
	Shown func(inventory.Server) inventory.Server
}

// Get reads a server with what belongs to it, or answers inventory.ErrNotFound.
func (s Servers) Get(ctx context.Context, name string) (r Server, err error) {
	err = s.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, name)
		if err != nil {
			return err
		}
		r, err = CompleteServer(ctx, tx, srv)
		return err
	})
	return s.AsShown(r), err
}

// AsShown is a server as it is shown.
func (s Servers) AsShown(r Server) Server {
	if s.Shown != nil {
		r.Server = s.Shown(r.Server)
	}
	return r
}

// ServerFilter narrows a list of servers. Zero fields do not narrow.
type ServerFilter = store.ServerFilter

// List reads a page of the servers that the filter lets through, by name, and the token of the next
// page. It may be shorter than asked for where it is not the last.
func (s Servers) List(ctx context.Context, filter ServerFilter, size int,
	token string) (all []Server, next string, err error) {
	err = s.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		var list []inventory.Server
		list, next, err = tx.Servers().List(ctx, s.recorded(filter),
			store.Page{Size: size, Token: token})
		if err != nil {
			return err
		}
		all, err = complete(ctx, tx, list)
		return err
	})
	for i := range all {
		all[i] = s.AsShown(all[i])
	}
	if len(filter.States) > 0 {
		all = slices.DeleteFunc(all, func(r Server) bool {
			return !slices.Contains(filter.States, r.State)
		})
	}
	return all, next, err
}

// recorded is the filter by what is on record, where READY stands for UNKNOWN.
func (s Servers) recorded(filter ServerFilter) ServerFilter {
	if s.Shown != nil && slices.Contains(filter.States, inventory.ServerUnknown) {
		filter.States = append(slices.Clone(filter.States), inventory.ServerReady)
	}
	return filter
}

// CompleteServer adds what a server's record only names.
func CompleteServer(ctx context.Context, tx *store.Tx, srv inventory.Server) (Server, error) {
	all, err := complete(ctx, tx, []inventory.Server{srv})
	if err != nil {
		return Server{}, err
	}
	return all[0], nil
}

func complete(ctx context.Context, tx *store.Tx, list []inventory.Server) ([]Server, error) {
	var named []string
	for _, srv := range list {
		named = append(named, volumesOf(srv)...)
	}
	volumes, err := tx.Volumes().Named(ctx, named)
	if err != nil {
		return nil, err
	}
	jobs, err := tx.UnfinishedJobs(ctx, subjectsOf(list))
	if err != nil {
		return nil, err
	}
	all := make([]Server, len(list))
	for i, srv := range list {
		all[i] = Server{Server: srv, Volumes: map[string]inventory.Volume{},
			Snapshot: volumes[srv.DataVolume].Snapshot}
		for _, subject := range subjectsOf(list[i : i+1]) {
			all[i].Jobs = append(all[i].Jobs, jobs[subject]...)
		}
		for _, id := range volumesOf(srv) {
			if v, ok := volumes[id]; ok {
				all[i].Volumes[id] = v
			}
		}
	}
	return all, nil
}

// subjectsOf are the subjects of jobs on the servers: those that change a server, and those that
// snapshot it.
func subjectsOf(list []inventory.Server) (subjects []string) {
	for _, srv := range list {
		subjects = append(subjects, srv.Subject(), inventory.SnapshottingSubject(srv.Name))
	}
	return subjects
}

// volumesOf are the ids of the volumes that a server's record names.
func volumesOf(srv inventory.Server) (ids []string) {
	if srv.DataVolume != "" {
		ids = append(ids, srv.DataVolume)
	}
	for _, m := range srv.Mounts {
		if m.Volume != "" {
			ids = append(ids, m.Volume)
		}
	}
	return ids
}

// Address is where the server's agent is reached.
func (s Servers) Address(ctx context.Context, name string) (address string, err error) {
	err = s.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, name)
		address = srv.Address
		return err
	})
	return address, err
}
