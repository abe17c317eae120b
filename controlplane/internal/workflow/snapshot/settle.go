package snapshot

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// settle leaves the source as it was when the snapshot was not taken.
func (s *step) settle(ctx context.Context) (kit.Outcome, error) {
	if !s.Unwinding {
		s.Found("nothing is held on %s", s.args.Source)
		return kit.Done(nil)
	}
	c, err := s.drop(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(c)
}

// Drop deletes the snapshot that a job took and that did not become READY, gives up its reservation
// and records it as failed.
func Drop(ctx context.Context, c *kit.Call, args kit.SnapshotArgs) (kit.Commit, error) {
	if args.Given {
		return nil, nil
	}
	return (&step{Call: c, args: args}).drop(ctx)
}

func (s *step) drop(ctx context.Context) (kit.Commit, error) {
	snap, err := s.snapshot(ctx)
	if kit.Missing(err) {
		return nil, nil
	}
	if err != nil || snap.Job != s.JobID || snap.State == inventory.SnapshotReady ||
		snap.State == inventory.SnapshotDeleted {
		return nil, err
	}
	if err := s.DeleteSnapshots(ctx, snap.ID); err != nil {
		return nil, err
	}
	if err := host.ReleaseBinlogs(ctx, s.Call, snap.Server, snap.ID); err != nil {
		return nil, err
	}
	return s.update(func(snap *inventory.Snapshot) error {
		snap.ProviderID, snap.Reservation, snap.ReservedTo = "", "", time.Time{}
		return snap.SetState(inventory.SnapshotFailed,
			"job "+s.JobID+" did not complete it; nothing of it is left")
	}, "the snapshot was not taken; nothing of it is left"), nil
}
