package workflow

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	keptHold = "hold"
	lockWait = 2 * time.Second
	proving  = 20 * time.Second
)

// held is an open hold, kept in this process while its section lasts, with what was cut under it.
// When the process dies, or the stream breaks, it is gone, and the section starts over.
type held struct {
	Hold
	until  time.Time   // it ends by its limit, at the latest
	cut    string      // provider's id of the snapshot; empty until it was begun
	result *HoldResult // once released
}

func (h *held) alive() bool {
	select {
	case <-h.Done():
		return false
	default:
		return true
	}
}

// theHold is the hold that an earlier step of the section opened; nil when it is not there any
// more.
func (s *step) theHold() *held {
	kept, ok := s.Kept(keptHold)
	if !ok {
		return nil
	}
	h, _ := kept.(*held)
	return h
}

// hold opens the hold, having deleted what earlier holds cut and could not prove.
func (s *step) hold(ctx context.Context) (outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return outcome{}, err
	}
	if proved(snap) {
		s.Found("the point at %s was held, and the cut proved",
			or(snap.Testimony.Position(), "(empty)"))
		return done(nil)
	}
	if err := s.dropUnproved(ctx, snap); err != nil {
		return outcome{}, err
	}
	reserved, err := s.reserveAgain(ctx, snap)
	if err != nil {
		return outcome{}, err
	}
	h := s.theHold()
	if h == nil || !h.alive() {
		if h, err = s.open(ctx); err != nil {
			return outcome{}, err
		}
	}
	t := h.Testimony()
	s.Found("position %s", or(position(t), "(empty)"))
	if t.BinlogFile != "" {
		s.Found("binary log %s at %d", t.BinlogFile, t.BinlogOffset)
	}
	testify := s.recordTestimony(t)
	return done(func(ctx context.Context, rec Records) error {
		if reserved != nil {
			if err := reserved(ctx, rec); err != nil {
				return err
			}
		}
		return testify(ctx, rec)
	})
}

// reserveAgain keeps the binary logs once more when this job failed before, and gave its
// reservation up.
func (s *step) reserveAgain(ctx context.Context, snap inventory.Snapshot) (commit, error) {
	if snap.State != inventory.SnapshotFailed {
		return nil, nil
	}
	kept, err := s.reserveBinlogs(ctx)
	return kept.commit, err
}

func (s *step) open(ctx context.Context) (*held, error) {
	n, err := s.serving(ctx, s.args.Source)
	if err != nil {
		return nil, err
	}
	until := s.w.Now().Add(s.args.HoldLimit)
	// The hold outlives this call: it lasts while this process holds the job.
	hold, err := n.agent.OpenHold(s.HoldContext(), OpenHold{
		Mode: s.args.Mode, Limit: s.args.HoldLimit, LockWait: lockWait, Nonce: nonceOf(s.EffectKey),
		Freeze: s.args.Mode != inventory.ModeCrash,
		Fence:  s.fence(),
	}, s.say)
	if err != nil {
		return nil, fmt.Errorf("cannot hold a consistent point on %s: %w", n.srv.Name, err)
	}
	h := &held{Hold: hold, until: until}
	s.Keep(keptHold, h)
	s.Changed("%s on %s", heldHow(s.args.Mode), n.srv.Name)
	return h, nil
}

func heldHow(mode inventory.SnapshotMode) string {
	switch mode {
	case inventory.ModeOffline:
		return "MariaDB is stopped cleanly and the filesystem is frozen"
	case inventory.ModeCrash:
		return "a point is marked, without a lock,"
	default:
		return "commits are blocked and the filesystem is frozen"
	}
}

func (s *step) recordTestimony(t Testimony) commit {
	return s.updateSnapshot(func(snap *inventory.Snapshot) error {
		if snap.State == inventory.SnapshotFailed { // the job is retried
			if err := snap.SetState(inventory.SnapshotPending, ""); err != nil {
				return err
			}
		}
		role := inventory.RolePrimary
		if t.Replica {
			role = inventory.RoleReplica
		}
		snap.Testimony = inventory.Testimony{
			Server: snap.Server, Role: role, ServerID: t.ServerID, Version: t.Version,
			Datadir:       t.Datadir,
			GTIDBinlogPos: t.BinlogPos, GTIDSlavePos: t.SlavePos, GTIDCurrentPos: t.CurrentPos,
			GTIDDomainID: t.DomainID,
			BinlogFile:   t.BinlogFile, BinlogPosition: uint64(max(t.BinlogOffset, 0)),
			FSUUID: t.FilesystemUUID, FSType: t.Filesystem, Nonce: t.Nonce, HeldAt: t.HeldAt,
			MaxBlock: s.args.HoldLimit,
		}
		return nil
	}, "a consistent point is held at %s", or(position(t), "(empty)"))
}

// position is the one that a replica starts from.
func position(t Testimony) string {
	if t.Replica {
		return t.SlavePos
	}
	return t.BinlogPos
}

// cut begins the snapshot at the provider, once: one whose answer was lost is found by its tag.
func (s *step) cut(ctx context.Context) (outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return outcome{}, err
	}
	if proved(snap) {
		s.Found("snapshot %s", snap.ProviderID)
		return done(nil)
	}
	h := s.theHold()
	if h == nil || !h.alive() {
		return back("the hold ended before the cut was complete")
	}
	found, err := s.findCut(ctx)
	if err != nil {
		return outcome{}, err
	}
	if found == nil {
		if found, err = s.begin(ctx, snap); err != nil {
			return outcome{}, err
		}
		s.Changed("began snapshot %s", found.ID)
	}
	h.cut = found.ID
	if _, byHand := s.w.cutTime(); byHand {
		return s.awaitCut(ctx, h)
	}
	return done(nil)
}

func (s *step) findCut(ctx context.Context) (*provider.Snapshot, error) {
	list, err := s.w.Cloud.ListSnapshots(ctx, s.made(map[string]string{TagStep: s.EffectKey}))
	if err != nil || len(list) == 0 {
		return nil, err
	}
	s.Found("snapshot %s was begun by an earlier attempt", list[0].ID)
	return &list[0], nil
}

func (s *step) begin(ctx context.Context, snap inventory.Snapshot) (*provider.Snapshot, error) {
	var vol inventory.Volume
	err := s.read(ctx, func(ctx context.Context, rec Records) (err error) {
		vol, err = rec.Volumes().Get(ctx, snap.Volume)
		return err
	})
	if err != nil {
		return nil, err
	}
	tags := s.tags(snap.Server, roleSnapshot)
	tags[TagSnapshot] = snap.ID
	if err := s.Prove(ctx); err != nil {
		return nil, err
	}
	made, err := s.w.Cloud.CreateSnapshot(ctx,
		provider.CreateSnapshotRequest{VolumeID: vol.ProviderID, Tags: tags})
	if err != nil {
		return nil, fmt.Errorf("cannot begin a snapshot of volume %s: %w", vol.ProviderID, err)
	}
	return &made, nil
}

// dropUnproved deletes what was cut for this snapshot and never proved to be consistent.
func (s *step) dropUnproved(ctx context.Context, snap inventory.Snapshot) error {
	list, err := s.w.Cloud.ListSnapshots(ctx, s.made(map[string]string{TagSnapshot: snap.ID}))
	if err != nil {
		return err
	}
	h := s.theHold()
	for _, found := range list {
		if found.ID == snap.ProviderID || h != nil && h.alive() && h.cut == found.ID {
			continue
		}
		if err := s.w.Cloud.DeleteSnapshot(ctx, found.ID); err != nil && !missing(err) {
			return fmt.Errorf("cannot delete snapshot %s, which was not proved consistent: %w",
				found.ID, err)
		}
		s.Changed("deleted snapshot %s: its hold was not proved unbroken", found.ID)
	}
	return nil
}
