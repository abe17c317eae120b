package host

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const oneWait = 5 * time.Second // of the replica for a position, before it is observed again

// PassTarget takes a target position while replication runs and waits until the replica has applied
// it.
func (p *Pair) PassTarget(ctx context.Context) (string, error) {
	if err := p.EnsureReplicating(ctx); err != nil {
		return "", err
	}
	target, err := p.takeTarget(ctx)
	if err != nil {
		return "", err
	}
	return target, p.reach(ctx, target)
}

// takeTarget is the primary's position after a commit of our own.
func (p *Pair) takeTarget(ctx context.Context) (string, error) {
	n := p.Primary
	proof, err := n.Agent.ProveWritable(ctx, p.FencingToken())
	if err != nil {
		return "", fmt.Errorf("cannot take a target position on %s: %w", n.Name, err)
	}
	st, err := n.Agent.Status(ctx)
	if err != nil {
		return "", err
	}
	if covered, err := replication.Covers(st.BinlogPos, proof.GTID); err != nil || !covered {
		return "", fmt.Errorf("the position %s of %s does not have its own commit %s: %w",
			st.BinlogPos, n.Name, proof.GTID, err)
	}
	return st.BinlogPos, nil
}

// reach waits until the replica has applied the position. Threads that stop are repaired or end the
// wait, with MariaDB's own error.
func (p *Pair) reach(ctx context.Context, gtid string) error {
	var pace replication.Pace
	for {
		reached, err := p.Agent.WaitForGTID(ctx, gtid, oneWait,
			func(w kit.Waited) { p.tellLag(&pace, w) })
		if reached && err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s has not reached %s: %w", p.Srv.Name, gtid, ctx.Err())
		}
		if err != nil && kit.Permanent(err) &&
			!kit.IsReason(err, errorsv1.Reason_REASON_REPLICATION_ERROR) {
			return fmt.Errorf("%s cannot reach %s: %w", p.Srv.Name, gtid, err)
		}
		if err := p.UntilRunning(ctx); err != nil {
			return err
		}
	}
}

// UntilRunning makes both threads run, however long the primary or the replica's agent is away.
func (p *Pair) UntilRunning(ctx context.Context) error {
	for {
		err := p.EnsureReplicating(ctx)
		if _, away := kit.Pause(err); err == nil || !away {
			return err
		}
		if gone := p.WhyAway(ctx, err); gone != nil {
			return gone
		}
		p.Say(err.Error())
		if err := p.PollOnce(ctx); err != nil {
			return err
		}
	}
}

func (p *Pair) tellLag(pace *replication.Pace, w kit.Waited) {
	now := time.Now()
	pace.Observe(now, w.Remaining)
	done, total := pace.Progress()
	left, _ := pace.Remaining(now)
	text := fmt.Sprintf("at %s, %d transactions to go", cmp.Or(w.Current, "(empty)"), w.Remaining)
	p.Progress(job.Progress{Done: done, Total: total, Unit: "transactions", Text: text, ETA: left})
}
