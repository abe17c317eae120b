package kit

import (
	"context"
	"fmt"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Proved reports whether a snapshot was proved to have been taken within its quiesce: that is when
// its id is recorded.
func Proved(snap inventory.Snapshot) bool { return snap.ProviderID != "" }

// Usable refuses a snapshot that no replica of the primary can be made from. It may also be of a
// replica of the primary.
func (c *Call) Usable(ctx context.Context, snap inventory.Snapshot, primary string) error {
	if snap.State != inventory.SnapshotReady || !Proved(snap) {
		return Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			Hint("wait until it is READY, or take another one", GetSnapshot(snap.ID),
				TakeSnapshot(snap.Server)),
			"snapshot %s is %s", snap.ID, snap.State)
	}
	if err := snap.Usable(snap.Server); err != nil || snap.Server == primary {
		return err
	}
	source, err := c.Server(ctx, snap.Server)
	if err != nil {
		return err
	}
	if !snap.Point.Replica || source.Primary != primary {
		return Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			Hint("take a snapshot of "+primary, TakeSnapshot(primary)),
			"snapshot %s is of %s, which does not follow %s", snap.ID, snap.Server, primary)
	}
	return nil
}

// DeleteSnapshots deletes everything at the provider that was taken for a snapshot's record.
func (c *Call) DeleteSnapshots(ctx context.Context, id string) error {
	list, err := c.Provider.ListSnapshots(ctx, c.Made(map[string]string{TagSnapshot: id}).All())
	if err != nil {
		return err
	}
	for _, at := range list {
		err := c.Provider.DeleteSnapshot(ctx, at.ID)
		if err := Removed(c, err, "snapshot "+at.ID, at.CreatedAt); err != nil {
			return fmt.Errorf("cannot delete snapshot %s: %w", at.ID, err)
		}
		c.Changed("deleted snapshot %s", at.ID)
	}
	return nil
}

// Overlap reports whether two lists of a device's names have one in common.
func Overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// Follows is the primary that a replica from the snapshot follows: the snapshot's server, or the
// primary of that when it was a replica itself.
func (k *Kit) Follows(ctx context.Context, snapshot string) (primary string, err error) {
	snap, err := k.Snapshot(ctx, snapshot)
	if err != nil || !snap.Point.Replica {
		return snap.Server, err
	}
	source, err := k.Record(ctx, snap.Server)
	return source.Primary, err
}

// CheckCopyTime refuses a quiesce that would end before an operator is done.
func (k *Kit) CheckCopyTime(a SnapshotArgs) error {
	least, manual := k.OperatorCopyTime()
	if !manual || a.QuiesceLimit >= least {
		return nil
	}
	return Refuse(errorsv1.Reason_REASON_ACTION_REQUIRED,
		Hint("take the snapshot offline with a limit in which the operator can copy the "+
			"volume: MariaDB is down that long; then make, or rebuild, a replica from it",
			errs.Call("CreateSnapshot", "server", inventory.ServerSubject(a.Source), "mode",
				"MODE_OFFLINE", "quiesce_limit", "30m")),
		"an operator copies the volumes of provider %s, which takes at least %s, and the "+
			"quiesce would end after %s", k.Provider.Name(), least, a.QuiesceLimit)
}
