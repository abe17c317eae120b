package provision

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// finishPrimary proves that the primary takes writes and records it as READY.
func (s *step) finishPrimary(ctx context.Context, h *host.Host) (kit.Outcome, error) {
	st, err := h.EnsureServing(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if found := replication.PrimaryFindings(st, h.Srv.ServerID); len(found) > 0 {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			kit.Hint("take away what makes it one on the host", kit.RetryThis()),
			"%s is not a primary: %s", h.Srv.Name, found[0].Text)
	}
	proof, err := h.Agent.ProveWritable(ctx, s.FencingToken())
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("%s does not take writes: %w", h.Srv.Name, err)
	}
	s.Found("a commit took %s and is %s", proof.Latency.Round(time.Millisecond), proof.GTID)
	return kit.Done(s.RecordReady(h.Srv.Name, st, ""))
}

// settlePrimary deletes what the primary's volume replaced. When the making ended before, it
// records the primary as failed and says what is left of it, or removes that.
func settlePrimary(rest kit.Remover) kit.Handler {
	return kit.Typed(func(ctx context.Context, c *kit.Call, args kit.ForMaking) (kit.Outcome,
		error) {
		commit, err := settled(ctx, c, args.ForMaking(), rest)
		if err != nil {
			return kit.Outcome{}, err
		}
		return kit.Done(commit)
	})
}

func settled(ctx context.Context, c *kit.Call, args kit.MakeArgs,
	rest kit.Remover) (kit.Commit, error) {
	if c.Unwinding {
		return c.GiveUp(ctx, args.ServerArgs, rest)
	}
	return DropReplaced(ctx, c, args)
}
