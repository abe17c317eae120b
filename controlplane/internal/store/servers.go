package store

import (
	"context"
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
	return s.list(ctx, f, where, p)
}

// ReplicasOf reads the names of the replicas of a primary, those that are gone left out.
func (s Servers) ReplicasOf(ctx context.Context, primary string) ([]string, error) {
	return rowsOf(ctx, s.tx, scanText, "SELECT name FROM servers WHERE primary_name = ? AND role "+
		"= ? AND state <> ? ORDER BY name",
		primary, inventory.RoleReplica, inventory.ServerDeleted)
}

// Touch records that the server's agent answered. It moves neither Rev nor Updated, and a server
// that is not there is no error.
func (s Servers) Touch(ctx context.Context, name string, at time.Time) error {
	_, err := s.tx.exec(ctx, "UPDATE servers SET last_seen = ? WHERE name = ? AND last_seen < ?",
		millis(at), name, millis(at))
	return err
}
