package snapshot

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// take begins the snapshot at the provider, once: one whose answer was lost is found by its tag.
func (s *step) take(ctx context.Context) (kit.Outcome, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if kit.Proved(snap) {
		s.Found("snapshot %s", snap.ProviderID)
		return kit.Done(nil)
	}
	h, err := s.source().held(ctx, snap)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !h.alive() {
		return s.startOver("the quiesce ended before the snapshot was begun: %s", h.why())
	}
	found, err := s.findTaken(ctx)
	if err == nil && found == nil {
		if found, err = s.begin(ctx, snap); err == nil {
			s.Changed("began snapshot %s", found.ID)
		}
	}
	if after, throttled := provider.RetryAfter(err); throttled {
		return s.pace().refused(ctx, snap, after, err)
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	h.snapshot = found.ID
	if _, manual := s.OperatorCopyTime(); manual {
		return s.awaitCopy(ctx, h)
	}
	return kit.Done(kit.Both(s.recordBegun(h), s.pace().recordTry(snap.Volume)))
}

// recordBegun lets another control plane go on with the quiesce.
func (s *step) recordBegun(h *quiesced) kit.Commit {
	return s.update(func(snap *inventory.Snapshot) error {
		snap.Quiesce.Begun, snap.Quiesce.Refusals = h.snapshot, 0
		return nil
	}, "snapshot %s was begun", h.snapshot)
}

func (s *step) findTaken(ctx context.Context) (*provider.Snapshot, error) {
	list, err := s.Provider.ListSnapshots(ctx, s.Made(map[string]string{kit.TagStep: s.EffectKey}))
	if err != nil || len(list) == 0 {
		return nil, err
	}
	s.Found("snapshot %s was begun by an earlier attempt", list[0].ID)
	return &list[0], nil
}

func (s *step) begin(ctx context.Context, snap inventory.Snapshot) (*provider.Snapshot, error) {
	vol, err := s.Volume(ctx, snap.Volume)
	if err != nil {
		return nil, err
	}
	tags := s.Tags(snap.Server, kit.RoleSnapshot)
	tags[kit.TagSnapshot] = snap.ID
	if err := s.Prove(ctx); err != nil {
		return nil, err
	}
	made, err := s.Provider.CreateSnapshot(ctx,
		provider.CreateSnapshotRequest{VolumeID: vol.ProviderID, Tags: tags})
	if err != nil {
		return nil, fmt.Errorf("cannot begin a snapshot of volume %s: %w", vol.ProviderID, err)
	}
	return &made, nil
}

// dropUnproved deletes what was taken for this snapshot and never proved to be consistent.
func (s *step) dropUnproved(ctx context.Context, snap inventory.Snapshot) error {
	return s.dropOthers(ctx, snap, s.Made(map[string]string{kit.TagSnapshot: snap.ID}))
}

// dropLate deletes what was taken for this snapshot and shows only now, when nothing is held. What
// cannot be deleted is no reason against a snapshot that is proved.
func (s *step) dropLate(ctx context.Context, snap inventory.Snapshot) error {
	err := s.dropOthers(ctx, snap, s.Made(map[string]string{kit.TagSnapshot: snap.ID}).All())
	if _, wait := kit.Pause(err); err == nil || wait {
		return err
	}
	s.Found("left to a sweep of the provider: %v", err)
	return nil
}

func (s *step) dropOthers(ctx context.Context, snap inventory.Snapshot,
	these provider.Filter) error {
	list, err := s.Provider.ListSnapshots(ctx, these)
	if err != nil {
		return err
	}
	h := s.source().kept()
	for _, found := range list {
		if found.ID == snap.ProviderID || h != nil && h.alive() && h.snapshot == found.ID {
			continue
		}
		err := s.Provider.DeleteSnapshot(ctx, found.ID)
		if err := kit.Removed(s.Call, err, "snapshot "+found.ID, found.CreatedAt); err != nil {
			return fmt.Errorf("cannot delete snapshot %s, which was not proved consistent: %w",
				found.ID, err)
		}
		s.Changed("deleted snapshot %s: its quiesce was not proved unbroken", found.ID)
	}
	return nil
}
