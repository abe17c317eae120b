package app

import (
	"context"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	serverservice "github.com/understudy-db/understudy/controlplane/internal/service/server"
	snapshotservice "github.com/understudy-db/understudy/controlplane/internal/service/snapshot"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// bind sees the store's transaction as the jobs do.
func bind(tx *store.Tx) workflow.Records { return workflow.Bind(tx) }

// servers shows the store to ServerService.
type servers struct{ st *store.Store }

// Get reads a server with what belongs to it.
func (s servers) Get(ctx context.Context, name string) (r serverservice.Record, err error) {
	err = s.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, name)
		if err != nil {
			return err
		}
		r, err = s.complete(ctx, tx, srv)
		return err
	})
	return r, err
}

// List reads a part of the servers.
func (s servers) List(ctx context.Context, primary string, size int,
	token string) (all []serverservice.Record, next string, err error) {
	err = s.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		all = nil
		list, after, err := tx.Servers().List(ctx, store.ServerFilter{Primary: primary},
			store.Page{Size: size, Token: token})
		if err != nil {
			return err
		}
		next = after
		for _, srv := range list {
			r, err := s.complete(ctx, tx, srv)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, next, err
}

// complete adds what the server's record only names.
func (s servers) complete(ctx context.Context, tx *store.Tx,
	srv inventory.Server) (serverservice.Record, error) {
	r := serverservice.Record{Server: srv, Volumes: map[string]inventory.Volume{}}
	named := []string{srv.DataVolume}
	for _, m := range srv.Mounts {
		named = append(named, m.Volume)
	}
	for _, id := range named {
		if id == "" {
			continue
		}
		v, err := tx.Volumes().Get(ctx, id)
		if err != nil && !errors.Is(err, inventory.ErrNotFound) {
			return r, err
		}
		if err == nil {
			r.Volumes[id] = v
		}
	}
	r.Snapshot = r.Volumes[srv.DataVolume].Snapshot
	var err error
	r.Verified, err = s.verified(ctx, tx, srv)
	return r, err
}

// verified is how the job that made the replica compared it.
func (s servers) verified(ctx context.Context, tx *store.Tx, srv inventory.Server) (string, error) {
	if srv.Role != inventory.RoleReplica || srv.Job == "" {
		return "", nil
	}
	made, err := s.st.Jobs(tx).Get(ctx, srv.Job)
	if errors.Is(err, errs.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	step, ok := made.Step("verify")
	if !ok || step.State != job.StepSucceeded {
		return "", nil
	}
	args, err := workflow.ArgsOf(made)
	return string(args.Verify), err
}

// SetBinlogAutoPurge turns binlog auto purge on or off by the records' rules.
func (s servers) SetBinlogAutoPurge(ctx context.Context,
	change serverservice.AutoPurge) (r serverservice.Record, err error) {
	run := s.st.Write
	if change.CheckOnly {
		run = s.st.Read
	}
	err = run(ctx, func(ctx context.Context, tx *store.Tx) error {
		srv, err := s.autoPurge(ctx, tx, change)
		if err != nil {
			return err
		}
		r, err = s.complete(ctx, tx, srv)
		return err
	})
	return r, err
}

func (s servers) autoPurge(ctx context.Context, tx *store.Tx,
	change serverservice.AutoPurge) (inventory.Server, error) {
	srv, err := tx.Servers().Get(ctx, change.Server)
	if err != nil {
		return srv, err
	}
	if change.Etag != "" && change.Etag != srv.Etag() {
		return srv, errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
			srv.Name+" changed since it was read",
			errs.WithHint("read it again and decide anew"))
	}
	if srv.State == inventory.ServerDeleting || srv.State == inventory.ServerDeleted {
		return srv, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_WRONG_ROLE,
			"server "+srv.Name+" is "+string(srv.State),
			errs.WithHint("name another server"))
	}
	replicas, err := tx.Servers().ReplicasOf(ctx, srv.Name)
	if err != nil {
		return srv, err
	}
	was := srv.BinlogAutoPurge
	if err := srv.SetBinlogAutoPurge(change.On, replicas); err != nil {
		return srv, err
	}
	if change.CheckOnly || was == srv.BinlogAutoPurge {
		return srv, nil
	}
	if err := tx.Servers().Update(ctx, &srv); err != nil {
		return srv, err
	}
	message := "binlog auto purge is off"
	if change.On {
		message = "binlog auto purge is on"
	}
	return srv, tx.Events().Add(ctx, inventory.Event{
		Actor: change.Who, Action: "server.update", Subject: srv.Subject(),
		RequestID: change.RequestID, Message: message,
	})
}

// Address is where the server's agent is reached.
func (s servers) Address(ctx context.Context, name string) (address string, err error) {
	err = s.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		srv, err := tx.Servers().Get(ctx, name)
		address = srv.Address
		return err
	})
	return address, err
}

// snapshots shows the store to SnapshotService.
type snapshots struct{ st *store.Store }

// Get reads a snapshot.
func (s snapshots) Get(ctx context.Context, id string) (r snapshotservice.Record, err error) {
	err = s.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		snap, err := tx.Snapshots().Get(ctx, id)
		if err != nil {
			return err
		}
		r, err = withVolume(ctx, tx, snap)
		return err
	})
	return r, err
}

// List reads a part of the snapshots.
func (s snapshots) List(ctx context.Context, server string, size int,
	token string) (all []snapshotservice.Record, next string, err error) {
	err = s.st.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		all = nil
		list, after, err := tx.Snapshots().List(ctx, store.SnapshotFilter{Server: server},
			store.Page{Size: size, Token: token})
		if err != nil {
			return err
		}
		next = after
		for _, snap := range list {
			r, err := withVolume(ctx, tx, snap)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, next, err
}

func withVolume(ctx context.Context, tx *store.Tx,
	snap inventory.Snapshot) (snapshotservice.Record, error) {
	v, err := tx.Volumes().Get(ctx, snap.Volume)
	if errors.Is(err, inventory.ErrNotFound) {
		err = nil
	}
	return snapshotservice.Record{Snapshot: snap, VolumeID: v.ProviderID}, err
}

// audit shows the store's audit to JobService, and adds to it for ProviderService.
type audit struct{ st *store.Store }

// Events reads a part of the audit.
func (a audit) Events(ctx context.Context, subject string, size int,
	token string) (all []inventory.Event, next string, err error) {
	err = a.st.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, next, err = tx.Events().List(ctx, store.EventFilter{Subject: subject},
			store.Page{Size: size, Token: token})
		return err
	})
	return all, next, err
}

// Add appends an event.
func (a audit) Add(ctx context.Context, ev inventory.Event) error {
	return a.st.Write(ctx,
		func(ctx context.Context, tx *store.Tx) error { return tx.Events().Add(ctx, ev) })
}
