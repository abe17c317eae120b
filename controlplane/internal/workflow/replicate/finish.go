package replicate

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// finish lets replication start by itself from now on, sees that all invariants hold at
// once, gives up the reservation and records the replica as READY.
func (s *step) finish(ctx context.Context, p *host.Pair) (kit.Outcome, error) {
	if err := p.EnsureReplicating(ctx); err != nil {
		return kit.Outcome{}, err
	}
	if err := s.checkReplica(ctx, p); err != nil {
		return kit.Outcome{}, err
	}
	if err := host.KnownHistory(p.Primary); err != nil {
		return kit.Outcome{}, err
	}
	if err := p.StartWithMariaDB(ctx); err != nil {
		return kit.Outcome{}, err
	}
	if err := host.StopAutoPurge(ctx, s.Call, p.Primary); err != nil {
		return kit.Outcome{}, err
	}
	if err := host.ReleaseBinlogs(ctx, s.Call, p.Primary.Name,
		s.args.SnapshotArgs.Reservation(s.JobID)); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(kit.Both(s.RecordReady(p.Srv.Name, p.St,
		"verified to level "+strings.ToLower(string(s.args.Verify))), p.RecordHistory(),
		s.forgetReservation()))
}

// checkReplica observes everything that must be true of a READY replica, at once.
func (s *step) checkReplica(ctx context.Context, p *host.Pair) error {
	st, err := p.Agent.Status(ctx)
	if err != nil {
		return err
	}
	problems := p.Want.Problems(st)
	if !p.ServesRightly(st) {
		problems = append(problems, "MariaDB does not serve the server's own volume")
	}
	if settled, err := p.Settled(ctx); err != nil {
		return err
	} else if !settled {
		problems = append(problems, "the server's volume is not mounted where it belongs")
	}
	if p.Srv.BinlogAutoPurge || p.Primary.BinlogAutoPurge {
		problems = append(problems, "binlog auto purge is on together with replication")
	}
	if ok, err := replication.Covers(p.Primary.Status.BinlogPos, st.SlavePos); err == nil && !ok {
		// The primary was observed first, so that a replica may have passed it meanwhile.
		if now, err := p.Primary.Agent.Status(ctx); err == nil {
			if ok, err := replication.Covers(now.BinlogPos, st.SlavePos); err == nil && !ok {
				problems = append(problems, kit.Sprintf("it is at %s, which %s at %s does not have",
					st.SlavePos, p.Primary.Name, now.BinlogPos))
			}
		}
	}
	if len(problems) > 0 {
		return errs.New(errs.Internal, errorsv1.Reason_REASON_REPLICATION_ERROR,
			p.Srv.Name+" is not a replica yet: "+strings.Join(problems, "; "),
			errs.WithHint("have the job make these true again", kit.RetryThis()))
	}
	p.St = st
	s.Found("all invariants hold; position %s", cmp.Or(st.SlavePos, "(empty)"))
	return nil
}

// forgetReservation records that the job's own snapshot keeps no binary logs any more.
func (s *step) forgetReservation() kit.Commit {
	if s.args.Given {
		return nil
	}
	return func(ctx context.Context, rec kit.Records) error {
		snap, err := rec.Snapshots.Get(ctx, s.args.Snapshot)
		if kit.Missing(err) || err == nil && snap.Reservation == "" {
			return nil
		}
		if err != nil {
			return err
		}
		snap.Reservation, snap.ReservedTo = "", time.Time{}
		return rec.Snapshots.Update(ctx, &snap)
	}
}

// settle leaves the primary as it was when the replica was not made, and says what is left of the
// replica, or removes that.
func settle(parts Parts) kit.Handler {
	return kit.Typed(func(ctx context.Context, c *kit.Call, args Args) (kit.Outcome, error) {
		if !c.Unwinding {
			c.Found("nothing of this job is held on %s", args.Source)
			dropped, err := parts.DropReplaced(ctx, c, args.MakeArgs)
			if err != nil {
				return kit.Outcome{}, err
			}
			return kit.Done(dropped)
		}
		dropped, err := parts.DropSnapshot(ctx, c, args.SnapshotArgs)
		if err != nil {
			return kit.Outcome{}, err
		}
		err = host.ReleaseBinlogs(ctx, c, args.Source, args.SnapshotArgs.Reservation(c.JobID))
		if err != nil {
			return kit.Outcome{}, err
		}
		rest, err := c.GiveUp(ctx, args.ServerArgs, parts.RemoveRest)
		if err != nil {
			return kit.Outcome{}, err
		}
		return kit.Done(kit.Both(dropped, rest))
	})
}
