package host

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// autoPurgeAfter is the age at which binary logs go where they are purged automatically.
const autoPurgeAfter = 3 * 24 * time.Hour

// BinlogExpiry is the age at which MariaDB deletes binary logs by itself, with binlog auto purge or
// without it: 0 keeps them.
func BinlogExpiry(autoPurge bool) time.Duration {
	if autoPurge {
		return autoPurgeAfter
	}
	return 0
}

// StopAutoPurge makes the primary's MariaDB keep its binary logs, before the record says so and
// again before the replica counts on it.
func StopAutoPurge(ctx context.Context, c *kit.Call, p *kit.Node) error {
	changed, err := p.Agent.SetBinlogExpiry(ctx, BinlogExpiry(false), c.FencingToken())
	if err != nil {
		return fmt.Errorf("cannot make %s keep its binary logs: %w", p.Name, err)
	}
	if changed {
		c.Changed("binary logs of %s are no longer purged by age", p.Name)
	}
	return nil
}

// KeepBinlogs keeps what the replica needs until it is READY, renewing the lease long before it
// ends. It refuses when a copy is to begin where the primary's binary logs do not reach back to; a
// replica that replicates already says itself what it misses. The primary is observed when p is
// nil.
func KeepBinlogs(ctx context.Context, c *kit.Call, a kit.MakeArgs, p *kit.Node,
	replicates bool) error {
	from := ""
	if !replicates {
		snap, err := c.Snapshot(ctx, a.Snapshot)
		if kit.Missing(err) || err == nil && snap.State != inventory.SnapshotReady {
			return nil // reserve_binlogs will see to it
		}
		if err != nil {
			return err
		}
		from = snap.Point.Position()
	}
	srv, err := c.Server(ctx, a.Server)
	if err == nil && srv.InService() || !c.Lease().Due() {
		return nil
	}
	if p == nil {
		if p, err = c.Serving(ctx, a.Source); err != nil {
			return err
		}
	}
	r, err := p.Agent.ReserveBinlogs(ctx, a.SnapshotArgs.Reservation(c.JobID), kit.DefaultReserve,
		from, c.FencingToken())
	if err != nil {
		return err
	}
	c.Lease().Renewed()
	c.Found("binary logs of %s from %s on are kept until %s", p.Name, r.FirstFile,
		r.Expires.UTC().Format("2006-01-02 15:04 MST"))
	return nil
}

// ReleaseBinlogs gives up a reservation on a server. On a server that is gone there is none.
func ReleaseBinlogs(ctx context.Context, c *kit.Call, server, id string) error {
	c.Lease().Forget()
	srv, err := c.Server(ctx, server)
	if kit.Missing(err) || err == nil && srv.State == inventory.ServerDeleted {
		return nil
	}
	if err != nil {
		return err
	}
	agent, err := c.Agents.Agent(ctx, server)
	if c.WentWithMachine(ctx, err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot reach the agent of %s to release its binary logs (they are "+
			"released by themselves in time): %w", server, err)
	}
	changed, err := agent.ReleaseBinlogs(ctx, id, c.FencingToken())
	if err != nil {
		return err
	}
	if changed {
		c.Changed("binary logs on %s are no longer reserved for %s", server, id)
	}
	return nil
}
