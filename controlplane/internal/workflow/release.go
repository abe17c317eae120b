package workflow

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// release ends the hold with the proof that it was unbroken until after the cut, and proves that
// the source takes writes again.
func (s *step) release(ctx context.Context) (outcome, error) {
	snap, err := s.snapshot(ctx)
	if missing(err) && s.Unwinding {
		return done(nil)
	}
	if err != nil {
		return outcome{}, err
	}
	if s.Unwinding {
		return s.abandon(ctx, snap)
	}
	if proved(snap) {
		s.Found("writes were blocked for %s", snap.Testimony.Block)
		return done(nil)
	}
	h := s.theHold()
	if h == nil || h.cut == "" {
		return back("the hold ended before the cut was confirmed")
	}
	if h.result == nil {
		// Ending a hold must not be cut short by whoever ends this job.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), proving)
		result, err := h.Release(ctx)
		cancel()
		if err != nil {
			return s.broken(h, err.Error())
		}
		h.result = &result
	}
	if !h.result.Unbroken {
		return s.broken(h, h.result.BrokenReason)
	}
	return s.proveReleased(ctx, h, snap)
}

// broken sends the section back: what was cut is not consistent, and hold deletes it.
func (s *step) broken(h *held, why string) (outcome, error) {
	s.Found("snapshot %s is not consistent: %s", h.cut, why)
	return back("the hold was not proved unbroken until after the cut (%s): the snapshot is "+
		"deleted and taken again", why)
}

// proveReleased shows that the source takes writes, and records the snapshot as proved.
func (s *step) proveReleased(ctx context.Context, h *held,
	snap inventory.Snapshot) (outcome, error) {
	n, err := s.serving(ctx, s.args.Source)
	if err != nil {
		return outcome{}, err
	}
	upper := ""
	// without a lock the copy may hold whatever was committed until after the cut
	if s.args.Mode == inventory.ModeCrash {
		upper = n.status.BinlogPos
		if n.srv.Role == inventory.RoleReplica {
			upper = n.status.SlavePos
		}
	}
	proof, err := n.agent.ProveWritable(ctx, s.fence())
	if err != nil {
		return outcome{}, fmt.Errorf("%s does not take writes after the hold: %w", n.srv.Name, err)
	}
	r := h.result
	s.Found("writes were blocked for %s, the filesystem frozen for %s; a commit took %s afterwards",
		max(r.Blocked, r.Down).Round(time.Millisecond), r.Frozen.Round(time.Millisecond),
		proof.Latency.Round(time.Millisecond))
	s.Changed("%s takes writes again", n.srv.Name)
	return done(s.recordProved(h, upper))
}

func (s *step) recordProved(h *held, upper string) commit {
	r := *h.result
	return s.updateSnapshot(func(snap *inventory.Snapshot) error {
		snap.ProviderID = h.cut
		t := &snap.Testimony
		t.Block, t.Freeze = r.Blocked, r.Frozen
		if r.Down > 0 {
			t.Restarts, t.Block = 1, max(r.Blocked, r.Down)
		}
		if upper != "" {
			t.GTIDCurrentPos = upper
		}
		return nil
	}, "the cut %s was made within its hold; writes were blocked for %s", h.cut,
		max(r.Blocked, r.Down).Round(time.Millisecond))
}

// abandon lets go of the source and deletes what was cut, when the job ends before the proof.
func (s *step) abandon(ctx context.Context, snap inventory.Snapshot) (outcome, error) {
	if s.theHold() != nil {
		s.Changed("the hold was released")
	}
	if err := s.Drop(keptHold); err != nil {
		s.Found("the hold ends by its limit: %v", err)
	}
	if proved(snap) {
		return done(nil)
	}
	if err := s.dropUnproved(ctx, snap); err != nil {
		return outcome{}, err
	}
	return done(nil)
}

// awaitReady waits for the provider to complete the snapshot.
func (s *step) awaitReady(ctx context.Context) (outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return outcome{}, err
	}
	if !proved(snap) {
		return outcome{}, refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			"have it cut anew: `understudy job retry JOB --step hold`",
			"snapshot %s was not proved consistent", snap.ID)
	}
	at, err := s.w.Cloud.GetSnapshot(ctx, snap.ProviderID)
	if missing(err) {
		return outcome{}, refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			"somebody deleted it there: take another one (`understudy snapshot create`)",
			"snapshot %s is gone at the provider", snap.ProviderID)
	}
	if err != nil {
		return outcome{}, err
	}
	switch at.State {
	case provider.SnapshotCompleted:
		s.Found("snapshot %s is complete, %s", at.ID, sizeOf(at.SizeBytes))
		if snap.State == inventory.SnapshotReady {
			return done(nil)
		}
		return done(s.updateSnapshot(func(snap *inventory.Snapshot) error {
			snap.Progress, snap.SizeBytes = 100, at.SizeBytes
			return snap.SetState(inventory.SnapshotReady, "")
		}, "the snapshot is READY"))
	case provider.SnapshotError:
		return outcome{}, refuse(errorsv1.Reason_REASON_PROVIDER_ERROR, "see `understudy "+
			"provider check`, then take another one (`understudy snapshot create`)",
			"the provider could not complete snapshot %s: %s", at.ID, at.Reason)
	}
	s.Progress(job.Progress{Done: int64(at.Progress), Total: 100, Unit: "percent",
		Text: "the provider copies"})
	return s.again("snapshot %s is %s, %d %%", at.ID, at.State, at.Progress)
}
