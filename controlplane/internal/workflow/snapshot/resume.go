package snapshot

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// resume ends the quiesce with the proof that it was unbroken until after the snapshot began, and
// proves that the source takes writes again.
func (s *step) resume(ctx context.Context) (kit.Outcome, error) {
	snap, err := s.snapshot(ctx)
	if kit.Missing(err) && s.Unwinding {
		return kit.Done(nil)
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	if s.Unwinding {
		return s.abandon(ctx, snap)
	}
	if kit.Proved(snap) {
		s.Found("writes were blocked for %s", snap.Quiesce.Blocked)
		return kit.Done(nil)
	}
	h, err := s.source().held(ctx, snap)
	if err != nil {
		return kit.Outcome{}, err
	}
	if h.snapshot == "" {
		return s.startOver("the quiesce ended before the snapshot was confirmed: %s", h.why())
	}
	if h.result == nil && !h.alive() {
		return s.broken(h, h.why())
	}
	if h.result == nil {
		result, err := s.source().proof(ctx, h)
		if err != nil && s.source().mayBeHeld(ctx, h) {
			return kit.Outcome{}, err // the next call learns how it ended
		}
		if err != nil {
			return s.broken(h, err.Error())
		}
		h.result = &result
	}
	if !h.result.Unbroken {
		return s.broken(h, h.result.BrokenReason)
	}
	return s.proveResumed(ctx, h)
}

// proof has the source resumed, and waits for the proof that it was held until now.
func (s holding) proof(ctx context.Context, h *quiesced) (kit.QuiesceResult, error) {
	limit := starting
	if s.args.Mode != inventory.ModeOffline {
		// It must not be cut short by whoever ends this job: nobody could have the proof again.
		ctx, limit = context.WithoutCancel(ctx), proving
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return h.Resume(ctx)
}

// broken sends the section back: what was taken is not consistent, and quiesce deletes it.
func (s *step) broken(h *quiesced, why string) (kit.Outcome, error) {
	s.Found("snapshot %s is not consistent: %s", h.snapshot, why)
	return s.startOver("snapshot %s cannot be used: the quiesce was not proved unbroken until "+
		"after it began: %s", h.snapshot, why)
}

// proveResumed shows that the source takes writes, and records the snapshot as proved.
func (s *step) proveResumed(ctx context.Context, h *quiesced) (kit.Outcome, error) {
	n, err := s.Serving(ctx, s.args.Source)
	if err != nil {
		return kit.Outcome{}, err
	}
	history, err := host.History(ctx, s.Call, n)
	if err != nil {
		return kit.Outcome{}, err
	}
	if history != h.history {
		return s.broken(h, "the binary log began another history meanwhile")
	}
	upper := ""
	// without a lock the copy may hold whatever was committed until after the snapshot
	if s.args.Mode == inventory.ModeCrash {
		upper = n.Status.BinlogPos
		if n.Role == inventory.RoleReplica {
			upper = n.Status.SlavePos
		}
	}
	proof, err := n.Agent.ProveWritable(ctx, s.FencingToken())
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("%s does not take writes after the quiesce: %w", n.Name,
			err)
	}
	r := h.result
	s.Found("writes were blocked for %s, the filesystem frozen for %s; a commit took %s afterwards",
		max(r.Blocked, r.Down).Round(time.Millisecond), r.Frozen.Round(time.Millisecond),
		proof.Latency.Round(time.Millisecond))
	s.Changed("%s takes writes again", n.Name)
	return kit.Done(s.recordProved(h, upper))
}

func (s *step) recordProved(h *quiesced, upper string) kit.Commit {
	r := *h.result
	return s.update(func(snap *inventory.Snapshot) error {
		snap.ProviderID = h.snapshot
		snap.History = h.history
		q := &snap.Quiesce
		q.Blocked, q.Frozen, snap.MaxPosition = max(r.Blocked, r.Down), r.Frozen, upper
		if r.Down > 0 {
			q.Restarts = 1
		}
		return nil
	}, "snapshot %s was taken within its quiesce; writes were blocked for %s", h.snapshot,
		max(r.Blocked, r.Down).Round(time.Millisecond))
}

// awaitReady waits for the provider to complete the snapshot.
func (s *step) awaitReady(ctx context.Context) (kit.Outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !kit.Proved(snap) {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			kit.Hint("have it taken again", kit.RetryStep("", "quiesce")),
			"snapshot %s was not proved consistent", snap.ID)
	}
	at, err := s.Provider.GetSnapshot(ctx, snap.ProviderID)
	// It was begun before the quiesce's limit.
	if wait := kit.NotShownYet(s.Call, err, "snapshot "+snap.ProviderID,
		snap.Quiesce.Until); wait != nil {
		return kit.Outcome{}, wait
	}
	if kit.Missing(err) {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
			kit.Hint("take another one", kit.TakeSnapshot(snap.Server)),
			"snapshot %s is gone at the provider", snap.ProviderID)
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	switch at.State {
	case provider.SnapshotCompleted:
		s.Found("snapshot %s is complete, %s", at.ID, kit.Size(at.SizeBytes))
		if snap.State == inventory.SnapshotReady {
			return kit.Done(nil)
		}
		if err := s.dropLate(ctx, snap); err != nil {
			return kit.Outcome{}, err
		}
		return kit.Done(s.update(func(snap *inventory.Snapshot) error {
			snap.Progress, snap.SizeBytes = 100, at.SizeBytes
			return snap.SetState(inventory.SnapshotReady, "")
		}, "the snapshot is READY"))
	case provider.SnapshotError:
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
			kit.Hint("see what the provider says, then take another one",
				errs.Call("CheckProvider"), kit.TakeSnapshot(snap.Server)),
			"the provider could not complete snapshot %s: %s", at.ID, at.Reason)
	}
	s.Progress(job.Progress{Done: int64(at.Progress), Total: 100, Unit: "percent",
		Text: "the provider copies"})
	return s.Again("snapshot %s is %s, %d %%", at.ID, at.State, at.Progress)
}
