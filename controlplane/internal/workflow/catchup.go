package workflow

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const oneWait = 5 * time.Second // of the replica for a position, before it is looked at again

// catchUp passes a fence: a position that the primary reached after replication had started.
func (s *step) catchUp(ctx context.Context) (outcome, error) {
	p, err := s.pair(ctx)
	if err != nil {
		return outcome{}, err
	}
	fence, err := s.passFence(ctx, p)
	if err != nil {
		return outcome{}, err
	}
	s.Found("passed the fence %s", fence)
	return done(nil)
}

// passFence takes a fence while replication runs and waits until the replica has passed it.
func (s *step) passFence(ctx context.Context, p *pair) (string, error) {
	if err := s.ensureReplicating(ctx, p); err != nil {
		return "", err
	}
	fence, err := s.takeFence(ctx, p.primary)
	if err != nil {
		return "", err
	}
	return fence, s.reach(ctx, p, fence)
}

// takeFence is the primary's position after a commit of our own.
func (s *step) takeFence(ctx context.Context, n *node) (string, error) {
	proof, err := n.agent.ProveWritable(ctx, s.fence())
	if err != nil {
		return "", fmt.Errorf("cannot take a fence on %s: %w", n.srv.Name, err)
	}
	st, err := n.agent.Status(ctx)
	if err != nil {
		return "", err
	}
	if covered, err := replication.Covers(st.BinlogPos, proof.GTID); err != nil || !covered {
		return "", fmt.Errorf("the position %s of %s does not have its own commit %s: %w",
			st.BinlogPos, n.srv.Name, proof.GTID, err)
	}
	return st.BinlogPos, nil
}

// reach waits until the replica has applied the position. Threads that stop are mended or end the
// wait, with MariaDB's own error.
func (s *step) reach(ctx context.Context, p *pair, gtid string) error {
	var pace replication.Pace
	for {
		reached, err := p.agent.WaitForGTID(ctx, gtid, oneWait,
			func(w Waited) { s.tellLag(&pace, w) })
		if reached && err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s has not reached %s: %w", p.srv.Name, gtid, ctx.Err())
		}
		if err != nil && permanent(err) &&
			!isReason(err, errorsv1.Reason_REASON_REPLICATION_ERROR) {
			return fmt.Errorf("%s cannot reach %s: %w", p.srv.Name, gtid, err)
		}
		if err := s.untilRunning(ctx, p); err != nil {
			return err
		}
	}
}

// untilRunning makes both threads run, however long the primary or the replica's agent is away.
func (s *step) untilRunning(ctx context.Context, p *pair) error {
	for {
		err := s.ensureReplicating(ctx, p)
		if _, away := pause(err); err == nil || !away {
			return err
		}
		if gone := s.whyAway(ctx, err); gone != nil {
			return gone
		}
		s.say(err.Error())
		if err := s.pollOnce(ctx); err != nil {
			return err
		}
	}
}

// pollOnce is the wait where there is no event to wait for.
func (s *step) pollOnce(ctx context.Context) error {
	timer := time.NewTimer(s.w.Poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (s *step) tellLag(pace *replication.Pace, w Waited) {
	now := time.Now()
	pace.Observe(now, w.Remaining)
	done, total := pace.Progress()
	left, _ := pace.Remaining(now)
	text := fmt.Sprintf("at %s, %d transactions to go", or(w.Current, "(empty)"), w.Remaining)
	s.Progress(job.Progress{Done: done, Total: total, Unit: "transactions", Text: text, ETA: left})
}
