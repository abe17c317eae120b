package host

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// History is the id of the history of the binary log that a copy of the server goes on from: the
// server's own, or its primary's.
func History(ctx context.Context, c *kit.Call, source *kit.Node) (string, error) {
	if source.Role != inventory.RoleReplica {
		return source.Status.BinlogHistory, nil
	}
	primary, err := c.Serving(ctx, source.Primary)
	if err != nil {
		return "", err
	}
	return primary.Status.BinlogHistory, nil
}

// SameHistory refuses a snapshot when the primary's binary log is not the one that the snapshot
// relies on any more.
func SameHistory(snap inventory.Snapshot, primary *kit.Node) error {
	relies := replication.Lineage{History: snap.History, Position: snap.Point.Position()}
	if !snap.Point.Replica {
		relies.State = snap.Point.BinlogState
	}
	why := relies.Broken(primary.Status)
	if why == "" {
		return nil
	}
	return kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH, kit.Hint("make the replica from a new "+
		"snapshot", errs.Call("CreateReplica", "primary", primary.Subject())),
		"snapshot %s is not of what %s has now: %s", snap.ID, primary.Name, why)
}

// sameHistory refuses a pair whose primary lost the history that the replica is made from, or
// follows.
func (p *Pair) sameHistory() error {
	if !p.observing {
		return SameHistory(p.Snap, p.Primary)
	}
	why := replication.Lineage{History: p.Srv.History}.Broken(p.Primary.Status)
	if why == "" {
		return nil
	}
	return kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH, kit.Hint("make the replica again from "+
		"a new snapshot", errs.Call("RebuildReplica", "name", p.Srv.Subject())),
		"%s does not follow what %s has now: %s", p.Srv.Name, p.Primary.Name, why)
}

// RecordHistory records the history that the replica is proved to follow.
func (p *Pair) RecordHistory() kit.Commit {
	history := p.Primary.Status.BinlogHistory
	return func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, p.Srv.Name)
		if err != nil || history == "" || srv.History == history {
			return err
		}
		srv.History = history
		return rec.Servers.Update(ctx, &srv)
	}
}
