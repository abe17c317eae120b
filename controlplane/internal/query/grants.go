package query

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Grants reads which grants on agents there are.
type Grants struct{ Store *store.Store }

// List reads all that are on record for servers of the scope, or for one of these, the newest
// first.
func (g Grants) List(ctx context.Context, server string,
	scope inventory.Scope) (all []inventory.AgentGrant, err error) {
	err = g.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.AgentGrants().All(ctx, server, scope)
		return err
	})
	return all, err
}
