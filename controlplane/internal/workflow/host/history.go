package host

import (
	"cmp"
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// History is the id of the history of the binary log that a copy of the server goes on from: the
// server's own, or its primary's. It waits until it is known.
func History(ctx context.Context, c *kit.Call, source *kit.Node) (string, error) {
	primary := source
	if source.Role == inventory.RoleReplica {
		var err error
		if primary, err = c.Serving(ctx, source.Primary); err != nil {
			return "", err
		}
	}
	return primary.Status.BinlogHistory, KnownHistory(primary)
}

// KnownHistory waits until the agent of the primary can tell the history of its binary log: it
// looks again every few seconds.
func KnownHistory(primary *kit.Node) error {
	if primary.Status.BinlogHistory != "" {
		return nil
	}
	return kit.Wait("the agent of %s cannot tell yet which history its binary log has",
		primary.Name)
}

// SameHistory refuses a snapshot when the primary's binary log is not the one that the snapshot
// relies on any more.
func SameHistory(snap inventory.Snapshot, primary *kit.Node) error {
	if snap.History == "" {
		return kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH, kit.Hint("make the replica from "+
			"a new snapshot", errs.Call("CreateReplica", "primary", primary.Subject())),
			"it is not on record which history snapshot %s is of", snap.ID)
	}
	if err := KnownHistory(primary); err != nil {
		return err
	}
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
	if err := KnownHistory(p.Primary); err != nil {
		return err
	}
	why := replication.Lineage{History: p.Srv.History}.Broken(p.Primary.Status)
	if why == "" {
		return nil
	}
	if p.anyHistory {
		p.Found("%s does not follow what %s has now: %s", p.Srv.Name, p.Primary.Name, why)
		return nil
	}
	return kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH, replication.OtherHistory(p.Srv.Name),
		"%s does not follow what %s has now: %s", p.Srv.Name, p.Primary.Name, why)
}

// ReceiveAgain has the replica receive again what it has not applied: what it received before may
// be of another history. It waits until the threads run: called again it would stop them again.
func (p *Pair) ReceiveAgain(ctx context.Context) error {
	if err := p.Stop(ctx, false); err != nil {
		return err
	}
	return p.UntilRunning(ctx)
}

// HasHistory refuses a pair whose primary's binary log has another history now than that one.
func (p *Pair) HasHistory(ctx context.Context, history string) error {
	st, err := p.Primary.Agent.Status(ctx)
	if err != nil {
		return err
	}
	now := kit.Node{Server: p.Primary.Server, Status: st}
	if err := KnownHistory(&now); err != nil || st.BinlogHistory == history {
		return err
	}
	return kit.Refuse(errorsv1.Reason_REASON_GTID_MISMATCH, replication.OtherHistory(p.Srv.Name),
		"the binary log of %s has another history than the one that was accepted (%s)",
		p.Primary.Name, cmp.Or(st.HistoryReason, "it is not known why"))
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
