package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// ServerFilter narrows a list of servers. Zero fields do not narrow.
type ServerFilter struct {
	States  []inventory.ServerState
	Role    inventory.Role
	Primary string
	// Text is part of the name, of the primary's, of the machine's id, of the address or of the
	// state's reason, in any case.
	Text string
	// NotDeleted leaves out servers that are gone.
	NotDeleted bool
	Scope      inventory.Scope
}

// Servers keeps server records, by name.
type Servers struct{ Repo[inventory.Server] }

// Servers gives the server records.
func (tx *Tx) Servers() Servers {
	return Servers{Repo[inventory.Server]{tx: tx, t: table[inventory.Server]{
		name: "servers", noun: "server", list: "ListServers", key: "name", seen: "last_seen",
		columns: []string{"state", "role", "primary_name", "last_seen", "search"},
		values: func(s *inventory.Server) []any {
			return []any{s.State, s.Role, s.Primary, millis(s.LastSeen),
				searched(s.Name, s.Primary, s.MachineID, s.Address, s.StateReason)}
		},
		meta: func(s *inventory.Server) meta {
			return meta{key: s.Name, rev: &s.Rev, created: &s.Created, updated: &s.Updated,
				seen: &s.LastSeen}
		},
	}}}
}

// List reads a page of servers by name, and the token of the next page (empty at the end).
func (s Servers) List(ctx context.Context, f ServerFilter,
	p Page) ([]inventory.Server, string, error) {
	var where conditions
	in(&where, "state", f.States)
	where.without("state", f.NotDeleted, string(inventory.ServerDeleted))
	where.contains("search", strings.ToLower(f.Text))
	where.equal("role", string(f.Role))
	where.equal("primary_name", f.Primary)
	where.inScope(f.Scope, named("name", ""))
	return s.list(ctx, f, where, p)
}

// ReplicasOf reads the names of the replicas of a primary, those that are gone left out.
func (s Servers) ReplicasOf(ctx context.Context, primary string) ([]string, error) {
	return rowsOf(ctx, s.tx, scanText, "SELECT name FROM servers WHERE primary_name = ? AND role "+
		"= ? AND state <> ? ORDER BY name",
		primary, inventory.RoleReplica, inventory.ServerDeleted)
}

// namesAtOnce is how many servers one statement names.
const namesAtOnce = 500

// Some reads the servers with these names; those that are not there are left out.
func (s Servers) Some(ctx context.Context, names []string) (all []inventory.Server, err error) {
	for some := range slices.Chunk(names, namesAtOnce) {
		found, err := s.Named(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, srv := range found {
			all = append(all, srv)
		}
	}
	return all, nil
}

// Touch records that the servers' agents answered. It moves neither Rev nor Updated, and a server
// that is not there is no error.
func (s Servers) Touch(ctx context.Context, at time.Time, names ...string) error {
	for some := range slices.Chunk(names, namesAtOnce) {
		args := []any{millis(at), millis(at)}
		for _, name := range some {
			args = append(args, name)
		}
		if _, err := s.tx.exec(ctx, "UPDATE servers SET last_seen = ? WHERE last_seen < ? AND "+
			"name IN ("+marks(len(some))+")", args...); err != nil {
			return err
		}
	}
	return nil
}

// Revs reads the revision of each server that is not gone, by name: what changed can be told
// without reading all records.
func (s Servers) Revs(ctx context.Context) (map[string]int64, error) {
	type rev struct {
		name string
		rev  int64
	}
	all, err := rowsOf(ctx, s.tx, func(row scanner) (r rev, err error) {
		err = row.Scan(&r.name, &r.rev)
		return r, err
	}, "SELECT name, rev FROM servers WHERE state <> ?", inventory.ServerDeleted)
	revs := make(map[string]int64, len(all))
	for _, r := range all {
		revs[r.name] = r.rev
	}
	return revs, err
}
