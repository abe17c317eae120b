package kit

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Making is what the record of a server that a job makes begins with.
type Making struct {
	ServerArgs
	Image   string
	Zone    string
	Primary string // empty makes a primary
	// Logged are the transactions that the primary's binary log knows of each server_id: a replica
	// leaves out what bears its own.
	Logged    string
	AutoPurge bool
}

// allocate gives the server a server_id that its primary has not logged.
func (m Making) allocate(ctx context.Context, rec Records) (uint32, error) {
	for {
		id, err := rec.ServerIDs.Allocate(ctx, m.Server)
		if err != nil || !replication.Bears(m.Logged, id) {
			return id, err
		}
		if err := rec.ServerIDs.Release(ctx, m.Server); err != nil {
			return 0, err
		}
	}
}

// Begun is the record of the server that this job makes, as far as there is one. It refuses a name
// that is taken, and to begin again, in this step alone, what was deleted.
func (c *Call) Begun(ctx context.Context) (inventory.Server, error) {
	srv, err := c.Record(ctx, c.Making())
	switch {
	case Missing(err):
		return inventory.Server{}, nil
	case err != nil:
		return srv, err
	case srv.Job == c.JobID && c.Alone:
		return srv, c.Still(srv)
	case srv.Job != c.JobID && srv.State != inventory.ServerDeleted:
		return srv, Taken(srv.Name)
	case srv.Job != c.JobID:
		return inventory.Server{}, nil
	}
	return srv, nil
}

// RecordServer adds the record of the server that the job makes, with its server_id. A replica's
// primary loses binlog auto purge in the same transaction.
func (c *Call) RecordServer(m Making) Commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers.Get(ctx, m.Server)
		switch {
		case err == nil && srv.Job == c.JobID && srv.State != inventory.ServerDeleted:
			return nil // written by an earlier run of this step
		case err == nil && srv.State != inventory.ServerDeleted:
			return Taken(srv.Name)
		case err != nil && !Missing(err):
			return err
		}
		write := rec.Servers.Update
		if Missing(err) {
			write = rec.Servers.Insert
		}
		if srv, err = c.newServer(srv, m); err != nil {
			return err
		}
		if srv.ServerID, err = m.allocate(ctx, rec); err != nil {
			return err
		}
		if err := write(ctx, &srv); err != nil {
			return err
		}
		if err := c.GainReplica(ctx, rec, m.Primary); err != nil {
			return err
		}
		if err := revokeEarlier(ctx, rec, m); err != nil {
			return err
		}
		return c.Event(ctx, rec, "server.create", srv.Subject(),
			"%s is being made with server_id %d", srv.Name, srv.ServerID)
	}
}

// revokeEarlier revokes what enrolled under the name of a replica before there was one: it may be a
// machine of an operator who works with that name and not with its primary.
func revokeEarlier(ctx context.Context, rec Records, m Making) error {
	if m.Primary == "" {
		return nil
	}
	for _, of := range []string{identity.Agent(m.Server).String(),
		inventory.MariaDBIdentity(m.Server)} {
		if _, err := rec.Certificates.Revoke(ctx, of, "it enrolled before "+m.Server+
			" was made as a replica of "+m.Primary); err != nil {
			return err
		}
	}
	return nil
}

// newServer is the record as it begins; old is the one of a deleted server of that name.
func (c *Call) newServer(old inventory.Server, m Making) (inventory.Server, error) {
	srv := inventory.Server{
		Name: m.Server, Provider: c.Provider.Name(), Zone: m.Zone, Image: m.Image, Port: m.Port,
		Job: c.JobID, Created: old.Created, Updated: old.Updated, Rev: old.Rev,
	}
	if err := srv.SetState(inventory.ServerProvisioning, ""); err != nil {
		return srv, err
	}
	if m.Primary != "" {
		return srv, srv.BecomeReplica(m.Primary, nil)
	}
	if err := srv.BecomePrimary(); err != nil {
		return srv, err
	}
	return srv, srv.SetBinlogAutoPurge(m.AutoPurge, nil)
}

// GainReplica readies a primary's record for the replica that the job makes: replication counts as
// configured, and binlog auto purge is off.
func (c *Call) GainReplica(ctx context.Context, rec Records, primary string) error {
	if primary == "" {
		return nil
	}
	p, err := rec.Servers.Get(ctx, primary)
	if err != nil || p.ReplicationConfigured && !p.BinlogAutoPurge {
		return err
	}
	purged := p.BinlogAutoPurge
	if err := p.GainReplica(); err != nil {
		return err
	}
	if err := rec.Servers.Update(ctx, &p); err != nil {
		return err
	}
	if !purged {
		return nil
	}
	return c.Event(ctx, rec, "server.update", p.Subject(),
		"binlog auto purge is off: %s gets the replica %s", primary, c.Making())
}

// recordFailed marks the server that the job makes as one whose making failed.
func (c *Call) recordFailed() Commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers.Get(ctx, c.Making())
		if Missing(err) || err == nil &&
			(srv.Job != c.JobID || srv.State != inventory.ServerProvisioning) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := srv.SetState(inventory.ServerFailed,
			"job "+c.JobID+" ended before it was READY: retry it, or clean it up"); err != nil {
			return err
		}
		if err := rec.Servers.Update(ctx, &srv); err != nil {
			return err
		}
		return c.Event(ctx, rec, "server.update", srv.Subject(), "the making of %s failed",
			srv.Name)
	}
}

// GiveUp ends a making that failed: rest removes what the job made when the request asked for that.
// A server that was READY stays: what fails then is a step that an operator had done again.
func (c *Call) GiveUp(ctx context.Context, asked ServerArgs, rest Remover) (Commit, error) {
	srv, err := c.Record(ctx, c.Making())
	if err != nil && !Missing(err) {
		return nil, err
	}
	kept := err == nil && srv.Job == c.JobID && !srv.FirstReady.IsZero()
	if asked.Cleanup && !kept {
		return rest(ctx, c)
	}
	if err := c.tellLeftovers(ctx); err != nil {
		return nil, err
	}
	return c.recordFailed(), nil
}

// tellLeftovers says what this job has made so far.
func (c *Call) tellLeftovers(ctx context.Context) error {
	filter := c.Made(map[string]string{TagJob: c.JobID})
	machines, err := c.Provider.ListMachines(ctx, filter)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if m.State != provider.MachineTerminated {
			c.Found("machine %s of this job is left: clean the job up to remove it", m.ID)
		}
	}
	volumes, err := c.Provider.ListVolumes(ctx, filter)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		c.Found("volume %s of this job is left: clean the job up to remove it", v.ID)
	}
	return nil
}

// Taken is the error of a name that another server has.
func Taken(name string) error {
	return inventory.Taken("server", name,
		"use another name; that of a server is free again once it is deleted")
}

// NameFree refuses a name that another server has.
func (k *Kit) NameFree(ctx context.Context, name string) error {
	srv, err := k.Record(ctx, name)
	switch {
	case Missing(err) || err == nil && srv.State == inventory.ServerDeleted:
		return nil
	case err != nil:
		return err
	}
	return Taken(name)
}

// Exists refuses a server that has no record.
func (k *Kit) Exists(ctx context.Context, name string) error {
	_, err := k.Record(ctx, name)
	return err
}
