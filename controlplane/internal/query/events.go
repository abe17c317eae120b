package query

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Events reads what happened and who asked for it, and adds to it.
type Events struct{ Store *store.Store }

// EventFilter narrows a list of events. Zero fields do not narrow.
type EventFilter = store.EventFilter

// Events reads a page of the events that the filter lets through, newest first, and the token of
// the next page.
func (e Events) Events(ctx context.Context, filter EventFilter, size int,
	token string) (all []inventory.Event, next string, err error) {
	err = e.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, next, err = tx.Events().List(ctx, filter,
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
