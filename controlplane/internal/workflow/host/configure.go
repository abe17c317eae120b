package host

import (
	"context"
	"fmt"
	"maps"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// applierThreads lets a replica commit in groups, as its primary does: with one thread and durable
// commits it falls behind under load.
const applierThreads = "4"

// logName is the same on every server: a copy brings the source's binary logs along, and MariaDB
// recovers by those of its own name.
const logName = "mariadb-bin"

// configuration is the whole of what the server's MariaDB shall read from our option file.
func (h *Host) configuration(srv inventory.Server) kit.Configuration {
	c := kit.Configuration{
		ServerID: srv.ServerID, BindAddress: "0.0.0.0", Port: srv.Port, LogBin: logName,
		LogUpdates: true, StrictMode: true,
		TLS: true, ReportHost: srv.Name, Durable: true, EventScheduler: false,
		Options: maps.Clone(h.Asked.Options), Contract: h.Snap.Point.Contract,
		BinlogExpire: BinlogExpiry(srv.BinlogAutoPurge), Token: h.FencingToken(),
	}
	if srv.Role == inventory.RoleReplica {
		c.ReadOnly = true
		// Until it was proved to be a replica it starts nothing by itself.
		c.SkipReplicaStart = !srv.InService()
		c.Options = withDefault(c.Options, "slave_parallel_threads", applierThreads)
	}
	return c
}

func withDefault(options map[string]string, name, value string) map[string]string {
	if _, given := options[name]; given {
		return options
	}
	if options == nil {
		options = map[string]string{}
	}
	options[name] = value
	return options
}

// EnsureConfiguration writes the agent's option file; MariaDB reads it at its next start.
func (h *Host) EnsureConfiguration(ctx context.Context) error {
	c, err := h.Agent.SetConfiguration(ctx, h.configuration(h.Srv))
	if err != nil {
		return fmt.Errorf("cannot configure MariaDB on %s: %w", h.Srv.Name, err)
	}
	if c.Changed {
		h.Changed("wrote the settings of %s: server_id %d", h.Srv.Name, h.Srv.ServerID)
	}
	for _, line := range c.Overridden {
		h.Found("overridden: %s", line)
	}
	return nil
}

// StartWithMariaDB lets replication start whenever MariaDB does: the replica was proved to be one.
func (h *Host) StartWithMariaDB(ctx context.Context) error {
	ready := h.Srv
	ready.State = inventory.ServerReady
	c, err := h.Agent.SetConfiguration(ctx, h.configuration(ready))
	if err != nil {
		return fmt.Errorf("cannot let replication start by itself on %s: %w", h.Srv.Name, err)
	}
	if c.Changed {
		h.Changed("replication starts with MariaDB on %s", h.Srv.Name)
	}
	return nil
}
