package snapshot

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// reserveBinlogs keeps the source's binary logs for whoever replicates from the snapshot.
func (s *step) reserveBinlogs(ctx context.Context) (kit.Outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if snap.State == inventory.SnapshotReady && snap.Reservation == "" {
		s.Found("the reservation of %s has served its purpose", snap.ID)
		return kit.Done(nil)
	}
	kept, err := s.reserve(ctx, snap)
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(kept)
}

func (s *step) reserve(ctx context.Context, snap inventory.Snapshot) (kit.Commit, error) {
	n, err := s.Serving(ctx, s.args.Source)
	if err != nil {
		return nil, err
	}
	for _, r := range n.Status.Reservations {
		if r.ID == snap.ID && r.Expires.Sub(s.Now()) > s.args.Reserve/2 {
			s.Found("binary logs from %s on are reserved until %s", r.FirstFile,
				r.Expires.UTC().Format("2006-01-02 15:04 MST"))
			return s.recordReservation(r.ID, r.Expires), nil
		}
	}
	r, err := n.Agent.ReserveBinlogs(ctx, snap.ID, s.args.Reserve, snap.Point.Position(),
		s.FencingToken())
	if err != nil {
		return nil, err
	}
	s.Changed("binary logs from %s on are kept until %s", r.FirstFile,
		r.Expires.UTC().Format("2006-01-02 15:04 MST"))
	return s.recordReservation(r.ID, r.Expires), nil
}

func (s *step) recordReservation(id string, until time.Time) kit.Commit {
	return func(ctx context.Context, rec kit.Records) error {
		snap, err := rec.Snapshots.Get(ctx, s.args.Snapshot)
		if err != nil {
			return err
		}
		snap.Reservation, snap.ReservedTo = id, until
		return rec.Snapshots.Update(ctx, &snap)
	}
}
