package store

import (
	"context"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// SnapshotFilter narrows a list of snapshots. Zero fields do not narrow.
type SnapshotFilter struct {
	States []inventory.SnapshotState
	Server string
	Job    string
	// Text is part of the id, of the server's name, of the provider's id or of the state's reason,
	// in any case.
	Text   string
	After  time.Time // created at that time or later
	Before time.Time // created before that time
	// Usable leaves out snapshots that failed or are gone.
	Usable bool
	Scope  inventory.Scope
}

// Snapshots keeps snapshot records, by id.
type Snapshots struct{ Repo[inventory.Snapshot] }

// Snapshots gives the snapshot records.
func (tx *Tx) Snapshots() Snapshots {
	return Snapshots{Repo[inventory.Snapshot]{tx: tx, t: table[inventory.Snapshot]{
		name: "snapshots", noun: "snapshot", list: "ListSnapshots", key: "id",
		columns: []string{"created", "state", "server", "job", "search"},
		values: func(s *inventory.Snapshot) []any {
			return []any{millis(s.Created), s.State, s.Server, s.Job,
				searched(s.ID, s.Server, s.ProviderID, s.StateReason)}
		},
		meta: func(s *inventory.Snapshot) meta {
			return meta{key: s.ID, rev: &s.Rev, created: &s.Created, updated: &s.Updated}
		},
	}}}
}

// List reads a page of snapshots, newest first, and the token of the next page (empty at the end).
func (s Snapshots) List(ctx context.Context, f SnapshotFilter,
	p Page) ([]inventory.Snapshot, string, error) {
	c, err := p.open(f)
	if err != nil {
		return nil, "", err
	}
	var where conditions
	where.equal("server", f.Server)
	in(&where, "state", f.States)
	where.without("state", f.Usable, string(inventory.SnapshotDeleted),
		string(inventory.SnapshotFailed))
	where.contains("search", strings.ToLower(f.Text))
	where.within("created", f.After, f.Before)
	where.equal("job", f.Job)
	where.inScope(f.Scope, named("server", ""))
	if c.after != nil {
		where.add("(created < ? OR created = ? AND id < ?)", c.after.At, c.after.At, c.after.Key)
	}
	query := s.selectSQL() + where.where() + " ORDER BY created DESC, id DESC" + c.limit()
	list, err := rowsOf(ctx, s.tx, s.scan, query, where.args...)
	if err != nil {
		return nil, "", err
	}
	list, next := cut(c, list, func(s inventory.Snapshot) (string, int64) {
		return s.ID,
			millis(s.Created)
	})
	return list, next, nil
}
