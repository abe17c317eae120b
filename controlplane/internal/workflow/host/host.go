// Package host makes the host of a server right, from whatever state it is in: the server's own
// volume mounted, MariaDB configured and serving, a replica replicating. Every function observes
// before it acts, so that a step can rely on it instead of on the steps before.
package host

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// Host is a server's record, its volume as the provider sees it, and its agent.
type Host struct {
	*kit.Call
	Srv   inventory.Server
	Vol   inventory.Volume
	At    provider.Volume
	Snap  inventory.Snapshot // that the volume was made from; zero for a primary
	Agent kit.Agent
	Asked kit.MakeArgs // of the job that makes the server; zero in other jobs

	observing bool // refuse what is not right, and change nothing
	// anyHistory: the binary log of the primary may have another history than the replica follows.
	anyHistory bool
}

// Open reads what is on record of the server that a job makes, and observes whether it is so at the
// provider.
func Open(ctx context.Context, c *kit.Call, asked kit.MakeArgs) (*Host, error) {
	h := &Host{Call: c, Asked: asked}
	return h, h.open(ctx, asked.Server)
}

// Observe is Open for a server that another job made: what is not right on it is refused, not
// repaired.
func Observe(ctx context.Context, c *kit.Call, server string) (*Host, error) {
	h := &Host{Call: c, observing: true}
	return h, h.open(ctx, server)
}

// AnyHistory lets the primary's binary log have another history than the one that the replica
// follows: for who compares all the data.
func (h *Host) AnyHistory() { h.anyHistory = true }

// AllowsAnyHistory reports whether AnyHistory was called.
func (h *Host) AllowsAnyHistory() bool { return h.anyHistory }

func (h *Host) open(ctx context.Context, server string) (err error) {
	if h.Srv, err = h.Server(ctx, server); err != nil {
		return err
	}
	if h.Vol, h.At, err = DataVolume(ctx, h.Call, h.Srv); err != nil {
		return err
	}
	if h.Vol.Snapshot != "" {
		if h.Snap, err = h.Snapshot(ctx, h.Vol.Snapshot); err != nil {
			return err
		}
	}
	h.Agent, err = h.Call.Agent(ctx, h.Srv.Name)
	return err
}

// Replica reports whether the server is to follow a primary.
func (h *Host) Replica() bool { return h.Srv.Role == inventory.RoleReplica }

// Started reports whether MariaDB was ever up on the server's volume: start_mariadb records the
// datadir's version, swap_volume forgets it.
func (h *Host) Started() bool { return h.Srv.DatadirVersion != "" }
