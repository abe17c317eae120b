package remove

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// checkSnapshot refuses to delete a snapshot that a replica is being made from.
func checkSnapshot(ctx context.Context, c *kit.Call, a SnapshotArgs) (kit.Outcome, error) {
	snap, err := c.Snapshot(ctx, a.Snapshot)
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.DoneUnless(c.Unused(ctx, snap.Subject()))
}

// release gives up what was kept for the job's or the snapshot's sake.
func release(ctx context.Context, c *kit.Call, args kit.ForSnapshot) (kit.Outcome, error) {
	a := args.ForSnapshot()
	if a.Source == "" {
		return kit.NotNeeded("nothing was reserved")
	}
	return kit.DoneUnless(host.ReleaseBinlogs(ctx, c, a.Source, a.Reservation(c.JobID)))
}

// removeSnapshot deletes a snapshot at the provider and records it: the given one, or the one that
// this job took.
func removeSnapshot(ctx context.Context, c *kit.Call, a kit.SnapshotArgs,
	given bool) (kit.Outcome, error) {
	snap, err := c.Snapshot(ctx, a.Snapshot)
	if kit.Missing(err) || err == nil && !given && snap.Job != c.JobID {
		return kit.NotNeeded("this job took no snapshot")
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	if given {
		err = letGoOfSnapshot(ctx, c, a, snap)
	} else {
		err = c.Unused(ctx, snap.Subject())
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := c.DeleteSnapshots(ctx, snap.ID); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(func(ctx context.Context, rec kit.Records) error {
		snap, err := rec.Snapshots.Get(ctx, a.Snapshot)
		if err != nil || snap.State == inventory.SnapshotDeleted {
			return err
		}
		snap.Reservation, snap.ReservedTo = "", time.Time{}
		if err := snap.SetState(inventory.SnapshotDeleted,
			"job "+c.JobID+" deleted it"); err != nil {
			return err
		}
		if err := rec.Snapshots.Update(ctx, &snap); err != nil {
			return err
		}
		return c.Event(ctx, rec, "snapshot.delete", snap.Subject(), "snapshot %s was deleted",
			snap.ID)
	})
}

// letGoOfSnapshot does what came before in a deletion, as far as no operator skipped it: nobody
// needs the snapshot, nothing is kept for it.
func letGoOfSnapshot(ctx context.Context, c *kit.Call, a kit.SnapshotArgs,
	snap inventory.Snapshot) error {
	if snap.State == inventory.SnapshotDeleted {
		return nil
	}
	if !c.Skipped(stepCheck) {
		if err := c.Unused(ctx, snap.Subject()); err != nil {
			return err
		}
	}
	if c.Skipped(stepRelease) {
		return nil
	}
	return host.ReleaseBinlogs(ctx, c, a.Source, a.Reservation(c.JobID))
}
