package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

const (
	keptQuiesce = "quiesce"
	lockWait    = 2 * time.Second
	proving     = 20 * time.Second
	starting    = 6 * time.Minute // offline the proof comes when MariaDB has started
)

// quiesced is an open quiesce, kept in this process while its section lasts, with what was taken
// under it. When the process dies, or the stream breaks, it is adopted from the host if it is
// offline; otherwise it is gone, and the section starts over.
type quiesced struct {
	kit.Quiesced
	history  string             // of the binary log that a copy goes on from, before the point
	until    time.Time          // it ends by its limit, at the latest
	snapshot string             // provider's id of the snapshot; empty until it was begun
	result   *kit.QuiesceResult // once released
	cause    error              // why there is no way back to it
}

// holding is what a step does with the quiesce of its section.
type holding struct{ *step }

func (s *step) source() holding { return holding{s} }

func (h *quiesced) alive() bool {
	if h.Quiesced == nil {
		return false
	}
	select {
	case <-h.Done():
		return false
	default:
		return true
	}
}

// kept is the quiesce that an earlier step of the section opened; nil when it is not there any
// more.
func (s holding) kept() *quiesced {
	kept, ok := s.Kept(keptQuiesce)
	if !ok {
		return nil
	}
	h, _ := kept.(*quiesced)
	return h
}

// quiesce holds a consistent point, having deleted what was taken earlier and could not be proved.
func (s *step) quiesce(ctx context.Context) (kit.Outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if kit.Proved(snap) {
		s.Found("the point at %s was held, and the snapshot proved",
			cmp.Or(snap.Point.Position(), "(empty)"))
		return kit.Done(nil)
	}
	if snap.Quiesce.Lost != "" {
		s.Found("the quiesce before was lost: %s", snap.Quiesce.Lost)
	}
	if err := s.dropUnproved(ctx, snap); err != nil {
		return kit.Outcome{}, err
	}
	reserved, err := s.reserveAgain(ctx, snap)
	if err != nil {
		return kit.Outcome{}, err
	}
	h := s.source().kept()
	if h == nil || !h.alive() {
		if err := s.source().endLeft(ctx); err != nil {
			return kit.Outcome{}, err
		}
		if err := s.pace().room(ctx, snap); err != nil {
			return kit.Outcome{}, err
		}
		if h, err = s.source().open(ctx); err != nil {
			return kit.Outcome{}, err
		}
	}
	p := h.Point()
	s.Found("position %s", cmp.Or(p.Position(), "(empty)"))
	if p.BinlogFile != "" {
		s.Found("binary log %s at %d", p.BinlogFile, p.BinlogOffset)
	}
	return kit.Done(kit.Both(reserved, s.recordPoint(h), s.pace().recordTry(snap.Volume)))
}

// reserveAgain keeps the binary logs once more when this job failed before, and gave its
// reservation up.
func (s *step) reserveAgain(ctx context.Context, snap inventory.Snapshot) (kit.Commit, error) {
	if snap.State != inventory.SnapshotFailed {
		return nil, nil
	}
	return s.reserve(ctx, snap)
}

func (s holding) open(ctx context.Context) (*quiesced, error) {
	n, err := s.Serving(ctx, s.args.Source)
	if err != nil {
		return nil, err
	}
	history, err := host.History(ctx, s.Call, n)
	if err != nil {
		return nil, err
	}
	began := s.Now()
	// The quiesce outlives this call: it lasts while this process holds the job.
	open, err := n.Agent.Quiesce(s.HoldContext(), kit.Quiesce{
		Mode: s.args.Mode, Limit: s.args.QuiesceLimit, LockWait: lockWait,
		Nonce:  kit.Nonce(s.EffectKey),
		Freeze: s.args.Mode != inventory.ModeCrash, AdoptWithin: s.adoptWithin(),
		Token: s.FencingToken(),
	}, s.Say)
	if err != nil {
		return nil, fmt.Errorf("cannot quiesce %s: %w", n.Name, err)
	}
	h := &quiesced{Quiesced: open, until: began.Add(s.args.QuiesceLimit), history: history}
	s.Keep(keptQuiesce, h)
	s.Changed("%s on %s", how(s.args.Mode), n.Name)
	return h, nil
}

func how(mode inventory.SnapshotMode) string {
	switch mode {
	case inventory.ModeOffline:
		return "MariaDB is stopped cleanly and the filesystem is frozen"
	case inventory.ModeCrash:
		return "a point is marked, without a lock,"
	default:
		return "commits are blocked and the filesystem is frozen"
	}
}

func (s *step) recordPoint(h *quiesced) kit.Commit {
	p := h.Point()
	return s.update(func(snap *inventory.Snapshot) error {
		refusals := snap.Quiesce.Refusals
		if snap.State == inventory.SnapshotFailed { // the job is retried
			refusals = 0
			if err := snap.SetState(inventory.SnapshotPending, ""); err != nil {
				return err
			}
		}
		snap.Point, snap.Quiesce = p, inventory.Quiesce{Limit: s.args.QuiesceLimit,
			Until: h.until, History: h.history, Refusals: refusals}
		return nil
	}, "a consistent point is held at %s", cmp.Or(p.Position(), "(empty)"))
}
