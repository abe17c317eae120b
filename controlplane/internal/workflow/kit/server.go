package kit

import (
	"cmp"
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Server is a server's record: of the one that this job makes only while that is there, not when it
// was deleted or a later one has its name.
func (c *Call) Server(ctx context.Context, name string) (inventory.Server, error) {
	srv, err := c.Record(ctx, name)
	if err != nil || name != c.Making() {
		return srv, err
	}
	if srv.Job != c.JobID {
		return srv, inventory.NotFound(errs.WithHint("ask again for what you want of it",
			errs.Call("GetServer", "name", srv.Subject())),
			"the server of this job is gone, %s is a later one, which job %s made", name, srv.Job)
	}
	return srv, c.Still(srv)
}

// Still refuses when the server that this job made was deleted, or is about to be.
func (c *Call) Still(srv inventory.Server) error {
	if srv.State != inventory.ServerDeleting && srv.State != inventory.ServerDeleted {
		return nil
	}
	return inventory.NotFound(errs.WithHint("ask for another, or, once it is gone, have it made "+
		"again", errs.Call("RedoStep", "name", "jobs/"+c.JobID, "step", "plan")),
		"server %s of this job is %s", srv.Name, srv.State)
}

// Record reads a server's record, whatever its state.
func (k *Kit) Record(ctx context.Context, name string) (inventory.Server, error) {
	return read(ctx, k, name, func(rec Records) get[inventory.Server] { return rec.Servers.Get })
}

// Snapshot reads a snapshot's record.
func (k *Kit) Snapshot(ctx context.Context, id string) (inventory.Snapshot, error) {
	return read(ctx, k, id, func(rec Records) get[inventory.Snapshot] { return rec.Snapshots.Get })
}

// Volume reads a volume's record.
func (k *Kit) Volume(ctx context.Context, id string) (inventory.Volume, error) {
	return read(ctx, k, id, func(rec Records) get[inventory.Volume] { return rec.Volumes.Get })
}

type get[R any] = func(ctx context.Context, id string) (R, error)

func read[R any](ctx context.Context, k *Kit, id string,
	of func(rec Records) get[R]) (one R, err error) {
	err = k.Store.Read(ctx, func(ctx context.Context, rec Records) (err error) {
		one, err = of(rec)(ctx, id)
		return err
	})
	return one, err
}

// Node is a server with its agent, observed just now.
type Node struct {
	inventory.Server
	Agent  Agent
	Status replication.Status
}

// Node reads a server's record and asks its agent how MariaDB is.
func (c *Call) Node(ctx context.Context, name string) (*Node, error) {
	srv, err := c.Server(ctx, name)
	if err != nil {
		return nil, err
	}
	agent, err := c.Agent(ctx, name)
	if err != nil {
		return nil, err
	}
	status, err := agent.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot observe MariaDB on %s: %w", name, err)
	}
	return &Node{Server: srv, Agent: agent, Status: status}, nil
}

// Agent is the connection to a server's agent.
func (k *Kit) Agent(ctx context.Context, name string) (Agent, error) {
	agent, err := k.Agents.Agent(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the agent of %s: %w", name, err)
	}
	return agent, nil
}

// Serving is a node whose MariaDB answers; it waits for one that does not.
func (c *Call) Serving(ctx context.Context, name string) (*Node, error) {
	n, err := c.Node(ctx, name)
	if err != nil {
		return nil, err
	}
	if !n.Status.Answers {
		return nil, NotAnswering(name, n.Status)
	}
	return n, nil
}

// Event adds an event with the step that caused it.
func (r recording) Event(ctx context.Context, rec Records, action, subject, format string,
	args ...any) error {
	return rec.Events.Add(ctx, inventory.Event{
		Actor: "controlplane", Action: action, Subject: subject, Job: r.run.JobID, Step: r.run.Step,
		Message: Sprintf(format, args...),
	})
}

// UpdateServer is a commit that changes a server's record and adds an event.
func (r recording) UpdateServer(name string, change func(srv *inventory.Server) error,
	format string, args ...any) Commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers.Get(ctx, name)
		if err != nil {
			return err
		}
		if err := change(&srv); err != nil {
			return err
		}
		if err := rec.Servers.Update(ctx, &srv); err != nil {
			return err
		}
		return r.Event(ctx, rec, "server.update", srv.Subject(), format, args...)
	}
}

// UpdateSnapshot is a commit that changes a snapshot's record and adds an event.
func (r recording) UpdateSnapshot(id string, change func(snap *inventory.Snapshot) error,
	format string, args ...any) Commit {
	return func(ctx context.Context, rec Records) error {
		snap, err := rec.Snapshots.Get(ctx, id)
		if err != nil {
			return err
		}
		if err := change(&snap); err != nil {
			return err
		}
		if err := rec.Snapshots.Update(ctx, &snap); err != nil {
			return err
		}
		return r.Event(ctx, rec, "snapshot.update", snap.Subject(), format, args...)
	}
}

// RecordReady records a server as proved to do what its role says.
func (r recording) RecordReady(name string, st replication.Status, reason string) Commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers.Get(ctx, name)
		if err != nil || srv.State == inventory.ServerReady && srv.StateReason == reason {
			return err
		}
		srv.BinaryVersion = cmp.Or(st.BinaryVersion, srv.BinaryVersion)
		srv.DatadirVersion = cmp.Or(st.DatadirVersion, srv.DatadirVersion)
		srv.LastSeen = r.now()
		if srv.FirstReady.IsZero() {
			srv.FirstReady = r.now()
		}
		if err := srv.SetState(inventory.ServerReady, reason); err != nil {
			return err
		}
		replicas, err := rec.Servers.ReplicasOf(ctx, name)
		if err != nil {
			return err
		}
		if err := srv.Check(replicas); err != nil {
			return err
		}
		if err := rec.Servers.Update(ctx, &srv); err != nil {
			return err
		}
		said := name + " is READY"
		if reason != "" {
			said += ", " + reason
		}
		return r.Event(ctx, rec, "server.update", srv.Subject(), "%s", said)
	}
}

// LetGo makes the step wait once while the record loses the server's mounts, in a transaction
// before the machine or the volume goes: whatever ends the job then, no record names a mount of a
// volume that is not attached.
func (r recording) LetGo(srv inventory.Server) error {
	if len(srv.Mounts) == 0 {
		return nil
	}
	return Waiting{Reason: "the mounts of " + srv.Name + " are taken off the record",
		Commit: r.UpdateServer(srv.Name, func(srv *inventory.Server) error {
			srv.Mounts = nil
			return nil
		}, "no mount is relied on: what is mounted is about to go")}
}
