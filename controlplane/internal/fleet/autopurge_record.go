package fleet

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// AutoPurge is a change of binlog auto purge.
type AutoPurge struct {
	Server string
	On     bool
	// Etag is that of the record that the change relies on; empty relies on none.
	Etag string
	// Who asks, and under which request id.
	Who, RequestID string
	// CheckOnly changes nothing.
	CheckOnly bool
}

// setRecord turns binlog auto purge on or off by the records' rules, on record alone.
func (p *Purging) setRecord(ctx context.Context,
	change AutoPurge) (s query.Server, err error) {
	run := p.Store.Write
	if change.CheckOnly {
		run = p.Store.Read
	}
	err = run(ctx, func(ctx context.Context, tx *store.Tx) error {
		srv, err := apply(ctx, tx, change)
		if err != nil {
			return err
		}
		s, err = query.CompleteServer(ctx, tx, srv)
		return err
	})
	return p.AsShown(s), err
}

func apply(ctx context.Context, tx *store.Tx,
	change AutoPurge) (inventory.Server, error) {
	srv, err := tx.Servers().Get(ctx, change.Server)
	if err != nil {
		return srv, err
	}
	if change.Etag != "" && change.Etag != srv.Etag() {
		return srv, errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
			srv.Name+" changed since it was read",
			errs.WithHint("read it again, then ask again"))
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
