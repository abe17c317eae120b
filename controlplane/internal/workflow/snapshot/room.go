package snapshot

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	maxRefusals = 12 // with the pauses between them more than half an hour
	maxPause    = 5 * time.Minute
)

// pacing is what a step does about a provider that limits how often snapshots are begun.
type pacing struct{ *step }

func (s *step) pace() pacing { return pacing{s} }

// room waits until the provider would begin a snapshot of the volume: what it may refuse is found
// out before the source is held.
func (s pacing) room(ctx context.Context, snap inventory.Snapshot) error {
	if until := snap.Quiesce.NotBefore; s.Now().Before(until) {
		return kit.Wait("the provider would not begin a snapshot of %s: it is asked again at %s",
			snap.Server, until.UTC().Format("15:04:05 MST"))
	}
	pacer, paces := s.Provider.(provider.Pacer)
	if !paces {
		return nil
	}
	vol, err := s.Volume(ctx, snap.Volume)
	if err != nil {
		return err
	}
	return pacer.SnapshotRoom(ctx, vol.ProviderID, vol.SnapshotTried)
}

// recordTry records that the provider is asked for a snapshot of the volume about now: another
// process, or another job, counts from there.
func (s pacing) recordTry(volume string) kit.Commit {
	if _, paces := s.Provider.(provider.Pacer); !paces {
		return nil
	}
	now := s.Now()
	return func(ctx context.Context, rec kit.Records) error {
		vol, err := rec.Volumes.Get(ctx, volume)
		if err != nil {
			return err
		}
		vol.SnapshotTried = now
		return rec.Volumes.Update(ctx, &vol)
	}
}

// refused lets go of the source at once when the provider will not begin the snapshot now. That was
// no start of the section: the next one waits before it holds anything.
func (s pacing) refused(ctx context.Context, snap inventory.Snapshot, after time.Duration,
	why error) (kit.Outcome, error) {
	if err := s.source().letGo(ctx, snap); err != nil {
		return kit.Outcome{}, err
	}
	if snap.Quiesce.Refusals+1 >= maxRefusals {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_PROVIDER_THROTTLED,
			kit.Hint("see what else asks the provider for snapshots of this volume, then retry "+
				"the job", errs.Call("CheckProvider"), kit.RetryThis()),
			"the provider would not begin a snapshot of %s %d times in a row: %v", snap.Server,
			maxRefusals, why)
	}
	pause := max(after, min(after<<min(snap.Quiesce.Refusals, 8), maxPause))
	until := s.Now().Add(pause)
	s.Found("writes go on on %s until the provider is asked again", snap.Server)
	out, err := kit.BackUncounted("the provider would not begin the snapshot: %v", why)
	return out.With(kit.Both(s.recordTry(snap.Volume),
		s.update(func(snap *inventory.Snapshot) error {
			snap.Quiesce.Lost = "the provider would not begin the snapshot"
			snap.Quiesce.Refusals++
			snap.Quiesce.NotBefore = until
			return nil
		}, "the provider would not begin the snapshot; it is asked again after %s", pause))), err
}
