package snapshot

import (
	"cmp"
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// startOver starts the section over. Where an operator takes the snapshot it asks first: whether to
// hold the source up once more is theirs to say.
func (s *step) startOver(format string, args ...any) (kit.Outcome, error) {
	why := kit.Sprintf(format, args...)
	out, err := kit.Back("%s", why)
	if _, manual := s.OperatorCopyTime(); manual {
		out, err = kit.AskOperator(why, kit.Hint("retry the job when the source may be held up "+
			"once more, and be ready to copy", kit.RetryThis()))
	}
	return out.With(s.update(func(snap *inventory.Snapshot) error {
		snap.Quiesce.Lost = why
		return nil
	}, "%s", why)), err
}

// awaitCopy waits, under the quiesce, until an operator has said that the copy is complete.
func (s *step) awaitCopy(ctx context.Context, h *quiesced) (kit.Outcome, error) {
	at, err := s.Provider.GetSnapshot(ctx, h.snapshot)
	switch {
	case kit.Missing(err):
		return s.startOver("snapshot %s is gone at the provider", h.snapshot)
	case err != nil:
		return kit.Outcome{}, err
	case at.State == provider.SnapshotError:
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
			kit.Hint("retry the job to be asked again"), "snapshot %s was not made: %s", at.ID,
			at.Reason)
	case at.State == provider.SnapshotCompleted:
		return kit.Done(s.recordBegun(h))
	}
	left := timeLeft(h.until.Sub(s.Now()))
	s.Progress(job.Progress{Text: left})
	return s.Again("%s: %s", left, cmp.Or(at.Reason, "snapshot "+at.ID+" is being made"))
}

// timeLeft says how long an operator has, no more often than they care to read: each change of it
// is a line for whoever watches.
func timeLeft(left time.Duration) string {
	step := time.Second
	switch {
	case left > 10*time.Minute:
		step = 5 * time.Minute
	case left > 2*time.Minute:
		step = time.Minute
	case left > 20*time.Second:
		step = 10 * time.Second
	}
	return kit.Sprintf("at least %s left", max(0, left).Truncate(step))
}
