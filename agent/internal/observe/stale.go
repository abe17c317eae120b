package observe

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// staleAfter is how long a part may be unknown before that is a fact.
const staleAfter = time.Minute

// Hang is a part that is not known.
type Hang struct {
	Since time.Time
	// Reason is why, where the part failed instead of hanging.
	Reason string
}

// stale is a part that one observation may lack, and many may not.
type stale struct{ at time.Time }

// known takes when the part was known; the first one counts in any case.
func (s *stale) known(at time.Time) {
	if at.After(s.at) {
		s.at = at
	}
}

// since is when it was known last, once that is too long ago; else the zero time.
func (s *stale) since(now time.Time) time.Time {
	if now.Sub(s.at) < staleAfter {
		return time.Time{}
	}
	return s.at
}

// fullLook is the end of a full observation of a run of the unit.
type fullLook struct {
	run string
	err error
}

// unitLook is the state of the unit, or why it is not known.
type unitLook struct {
	unit     systemd.Unit
	starting bool // the host, and the unit does not run
	err      error
}

// lookAtUnit asks systemd. That there is no unit is an answer.
func (s *Sampler) lookAtUnit(ctx context.Context) unitLook {
	unit, err := s.cfg.Unit(ctx)
	switch {
	case errors.Is(err, errs.NotFound):
		return unitLook{starting: s.cfg.Starting(ctx)}
	case err != nil:
		return unitLook{err: err}
	}
	return unitLook{unit: unit, starting: unit.Stopped() && s.cfg.Starting(ctx)}
}

// observeUnit gives the unit's state. That it is not known for long is a fact.
func (s *Sampler) observeUnit(ctx context.Context, p *part) {
	found, since := s.unit.run(ctx, probeLimit, s.lookAtUnit)
	p.Unit, p.Starting = found.unit, found.starting
	if since.IsZero() && found.err == nil {
		s.unitAt.known(p.At)
	}
	p.hangs("unit", s.unitAt.since(p.At), found.err)
}

// observeInFull observes a MariaDB that runs in full, if what is known of it is too old.
func (s *Sampler) observeInFull(ctx context.Context, run string) {
	look := func(ctx context.Context) fullLook {
		_, err := s.cfg.Status(ctx)
		return fullLook{run, err}
	}
	status, at := s.watch.Latest()
	switch {
	case !status.Answers || s.heldThen(status) || s.run != run:
		// Little or nothing is known of this run.
		done, _ := s.full.run(ctx, probeLimit, look)
		if status, _ = s.watch.Latest(); status.Answers && done.err == nil && done.run == run {
			s.run = run
		}
	case time.Since(at) >= FullInterval:
		go s.full.run(ctx, 0, look)
	}
}

// tellStale makes it a fact that a MariaDB that answers is not observed in full for long. One whose
// settings were never read is not told as if it were well.
func (s *Sampler) tellStale(p *part, run string) {
	full, at := s.watch.Latest()
	fresh := full.Answers && s.run == run && !s.heldThen(full)
	switch {
	case !p.Status.Answers || s.cfg.Quiesced():
		s.fullAt.known(p.At)
	case fresh:
		s.fullAt.known(at)
	}
	since := s.fullAt.since(p.At)
	if since.IsZero() {
		p.untold = p.Status.Answers && !fresh
		return
	}
	last, hung := s.full.latest()
	if !hung.IsZero() {
		last.err = nil
	}
	p.hangs("facts", since, last.err)
	if !fresh {
		p.Status = s.down(full, "it has not been observed in full since its start")
	}
}
