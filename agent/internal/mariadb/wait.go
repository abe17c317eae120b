package mariadb

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// waitSlice is how long MariaDB itself waits before its threads are observed again.
const waitSlice = "0.5"

// Progress is how far a wait is.
type Progress struct {
	// Current is the position that is applied, Remaining an upper bound of what is missing.
	Current   gtid.Position
	Remaining uint64
	Reached   bool
	// Behind is Seconds_Behind_Master, nil for NULL.
	Behind *time.Duration
}

// WaitForGtid waits until the position is applied and reports each of its steps. The last one has
// Reached.
func (rp *Replica) WaitForGtid(ctx context.Context, target gtid.Position, timeout time.Duration,
	say func(Progress) error) error {
	const what = "cannot wait for a position"
	if err := rp.server.require(ctx, what); err != nil {
		return err
	}
	began := time.Now()
	for {
		p, err := progress(ctx, rp.server.db, target)
		if err != nil {
			return failure(what, err)
		}
		if err := say(p); err != nil || p.Reached {
			return err
		}
		if time.Since(began) >= timeout {
			return errs.New(errs.DeadlineExceeded, errorsv1.Reason_REASON_GTID_NOT_REACHED,
				fmt.Sprintf("cannot reach position %s within %s: the replica is at %s, %d "+
					"transactions are missing", display(target), timeout, display(p.Current),
					p.Remaining),
				errs.WithHint("wait longer, or find out what the SQL thread does",
					errs.Call("GetStatus")),
				errs.Meta("gtid", p.Current.String()))
		}
		if err := waitASlice(ctx, rp.server.db, target); err != nil {
			return failure(what, err)
		}
	}
}

// waitASlice lets MariaDB wait. It compares by number alone: what it takes for reached may be
// another server's transaction.
func waitASlice(ctx context.Context, q querier, target gtid.Position) error {
	r, err := one(ctx, q, "SELECT MASTER_GTID_WAIT("+literal(target.String())+", "+waitSlice+
		") AS result")
	if err != nil || r["result"] != "0" {
		return err
	}
	at, err := slavePosition(ctx, q)
	if err != nil || at.Missing(target) > 0 || at.Contains(target) {
		return err
	}
	return unsafe(errorsv1.Reason_REASON_GTID_ERRANT,
		fmt.Sprintf("cannot reach position %s: the replica is at %s, another transaction with the "+
			"same number", display(target), display(at)),
		errs.WithHint("rebuild the replica", errs.Call("RebuildReplica")),
		errs.Meta("gtid", at.String()))
}

// progress observes once. A replica that cannot continue is an error; one whose primary is away for
// a while is none.
func progress(ctx context.Context, q querier, target gtid.Position) (Progress, error) {
	at, err := slavePosition(ctx, q)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Current: at, Remaining: at.Missing(target), Reached: at.Contains(target)}
	if p.Reached {
		return p, nil
	}
	r, configured, err := defaultReplication(ctx, q)
	switch {
	case err != nil:
		return p, err
	case !configured:
		return p, unsafe(errorsv1.Reason_REASON_REPLICATION_NOT_CONFIGURED,
			"cannot wait for a position: no primary is configured",
			errs.WithHint("configure one first", errs.Call("ConfigureReplica")))
	case r.trouble() != nil:
		return p, r.trouble()
	case r.SQLRunning == "No":
		return p, replicationStopped("the SQL thread does not run")
	case r.IORunning == "No" && !contains(r.GtidIOPos, target):
		return p, replicationStopped("the IO thread does not run")
	}
	p.Behind = r.Behind
	return p, nil
}

// contains is whether all of target was received.
func contains(received string, target gtid.Position) bool {
	at, err := gtid.ParsePosition(received)
	return err == nil && at.Contains(target)
}
