package query

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Events reads what happened and who asked for it, and adds to it.
type Events struct{ Store *store.Store }

// Events reads a page of events, newest first, all of them or those on one subject, and the token
// of the next page.
func (e Events) Events(ctx context.Context, subject string, size int,
	token string) (all []inventory.Event, next string, err error) {
	err = e.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, next, err = tx.Events().List(ctx, store.EventFilter{Subject: subject},
			store.Page{Size: size, Token: token})
		return err
	})
	return all, next, err
}

// Add appends an event.
func (e Events) Add(ctx context.Context, ev inventory.Event) error {
	return e.Store.Write(ctx,
		func(ctx context.Context, tx *store.Tx) error { return tx.Events().Add(ctx, ev) })
}

// Swept notes that an object of the provider that a job left behind was removed.
func (e Events) Swept(ctx context.Context, who, kind, id, job string) error {
	return e.Add(ctx, inventory.Event{
		Actor: who, Action: "provider.sweep", Subject: kind + "s/" + id, Job: job,
		Message: "removed " + kind + " " + id + ", which job " + job + " left behind",
	})
}
