package app

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// sweepAudit keeps who removed what jobs left behind.
type sweepAudit struct{ st *store.Store }

// Swept notes that a thing of the provider was removed.
func (a sweepAudit) Swept(ctx context.Context, who, kind, id, job string) error {
	return a.st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Events().Add(ctx, inventory.Event{
			Actor: who, Action: "provider.sweep", Subject: kind + "s/" + id, Job: job,
			Message: "removed " + kind + " " + id + ", which job " + job + " left behind",
		})
	})
}
