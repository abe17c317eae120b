package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// comesBack is how long a host waits for a control plane that is restarted, or whose job another
// one takes over.
const comesBack = 2 * time.Minute

// adoptWithin is 0 where a quiesce blocks writes: it is short, and done again as quickly.
func (s holding) adoptWithin() time.Duration {
	if s.args.Mode == inventory.ModeOffline {
		return comesBack
	}
	return 0
}

// held is the quiesce of this section: the one that an earlier step of this process opened, or the
// one that the host has of it. It may have ended; why then says how.
func (s holding) held(ctx context.Context, snap inventory.Snapshot) (*quiesced, error) {
	h := s.kept()
	if h != nil && (h.result != nil || h.alive()) {
		return h, nil
	}
	if h != nil {
		if result, err := h.Ended(); err == nil { // the host said so
			h.result = &result
			return h, nil
		}
	}
	if s.args.Mode != inventory.ModeOffline {
		return gone(h, nil), nil
	}
	return s.adopt(ctx, snap, h)
}

// gone is a quiesce that there is no way back to.
func gone(h *quiesced, cause error) *quiesced {
	out := &quiesced{}
	if h != nil {
		*out = *h
	}
	out.cause = cause
	return out
}

// why says why a quiesce is over.
func (h *quiesced) why() string {
	why := "the control plane that had it let go of it"
	if h.result != nil {
		return cmp.Or(h.result.BrokenReason, "it was resumed")
	}
	if h.Quiesced != nil {
		if _, err := h.Ended(); err != nil {
			why = err.Error()
		}
	}
	if h.cause != nil {
		why += "; " + h.cause.Error()
	}
	return why
}

// adopt goes on with a quiesce whose connection was lost: at the same point, or at none.
func (s holding) adopt(ctx context.Context, snap inventory.Snapshot,
	former *quiesced) (*quiesced, error) {
	h := gone(former, nil)
	lost := h.why()
	h.history, h.until = snap.Quiesce.History, snap.Quiesce.Until
	h.snapshot = cmp.Or(h.snapshot, snap.Quiesce.Begun)
	agent, err := s.Agents.Agent(ctx, s.args.Source)
	if err == nil {
		h.Quiesced, err = agent.Adopt(s.HoldContext(), kit.Adopt{Nonce: snap.Point.Nonce,
			Limit: s.args.QuiesceLimit, Token: s.FencingToken()})
	}
	switch {
	case err != nil && (kit.IsReason(err, errorsv1.Reason_REASON_STALE_EPOCH) || ctx.Err() != nil):
		return nil, err
	case errs.KindOf(err) == errs.Unavailable && s.Now().Before(h.until):
		return nil, fmt.Errorf("waiting to go on with the quiesce of %s, which may be held still, "+
			"%s: %w", s.args.Source, timeLeft(h.until.Sub(s.Now())), err)
	case err == nil && !same(h.Point(), snap.Point):
		err = errors.Join(errors.New("the host is at another point"), h.Close())
	}
	if err != nil {
		return gone(former, err), nil
	}
	if left := h.Left(); left > 0 {
		h.until = s.Now().Add(left)
	}
	s.Keep(keptQuiesce, h)
	if !h.alive() {
		result, err := h.Ended()
		if err != nil {
			return nil, err
		}
		h.result = &result
		s.Found("the connection was lost (%s); the host says how the quiesce ended", lost)
		return h, nil
	}
	s.Found("the connection was lost (%s), the quiesce was not: it goes on at the same point", lost)
	return h, nil
}

func same(a, b consistentpoint.Point) bool {
	return a.Nonce == b.Nonce && a.At.Equal(b.At) && a.BinlogPos == b.BinlogPos &&
		a.SlavePos == b.SlavePos
}

// mayBeHeld says that what became of a quiesce can be learned yet: the wait for it was ended, or
// the connection was, and the host has it.
func (s holding) mayBeHeld(ctx context.Context, h *quiesced) bool {
	if s.args.Mode != inventory.ModeOffline {
		return false
	}
	if h.alive() {
		return ctx.Err() != nil
	}
	_, err := h.Ended()
	return err != nil
}

// endLeft ends what an earlier attempt, or an earlier control plane, holds of the source.
func (s holding) endLeft(ctx context.Context) error {
	if s.args.Mode != inventory.ModeOffline {
		return nil
	}
	agent, err := s.Agents.Agent(ctx, s.args.Source)
	if err != nil {
		return err
	}
	result, err := agent.EndQuiesce(ctx, s.FencingToken())
	switch {
	case errs.KindOf(err) == errs.Unimplemented: // an agent of an earlier version holds nothing
		return nil
	case err != nil:
		return fmt.Errorf("cannot resume %s: %w", s.args.Source, err)
	case result != nil:
		s.ended(*result)
	}
	return nil
}

// ended says how a quiesce ended that nothing was made of.
func (s holding) ended(result kit.QuiesceResult) {
	if result.Unbroken {
		s.Changed("%s was resumed", s.args.Source)
		return
	}
	s.Found("the quiesce of %s is over: %s", s.args.Source,
		cmp.Or(result.BrokenReason, "it was resumed"))
}

// abandon lets go of the source and deletes what was taken, when the job ends before the proof.
func (s *step) abandon(ctx context.Context, snap inventory.Snapshot) (kit.Outcome, error) {
	if !kit.Proved(snap) {
		if err := s.source().letGo(ctx, snap); err != nil {
			return kit.Outcome{}, err
		}
	}
	if err := s.Drop(keptQuiesce); err != nil {
		s.Found("the quiesce ends by its limit: %v", err)
	}
	if kit.Proved(snap) {
		return kit.Done(nil)
	}
	return kit.DoneUnless(s.dropUnproved(ctx, snap))
}

// letGo has the source resumed, and says so when the host does. It waits for an agent that is away
// as long as the host may hold the source.
func (s holding) letGo(ctx context.Context, snap inventory.Snapshot) error {
	var err error
	if h := s.kept(); h != nil && h.alive() {
		var result kit.QuiesceResult
		if result, err = s.proof(ctx, h); err == nil {
			s.ended(result)
			return nil
		}
	}
	if s.args.Mode == inventory.ModeOffline {
		err = s.endLeft(ctx)
		if errs.KindOf(err) != errs.Unavailable || s.Now().Before(snap.Quiesce.Until) {
			return err
		}
	}
	if err != nil && snap.Point.Nonce != "" {
		s.Found("it is not known whether %s was resumed (%v); its host does so within %s",
			s.args.Source, err, s.args.QuiesceLimit)
	}
	return nil
}
