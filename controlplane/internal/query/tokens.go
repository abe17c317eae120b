package query

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// Tokens reads which join tokens there are.
type Tokens struct{ Store *store.Store }

// List reads all that are on record for servers of the scope, the newest first.
func (t Tokens) List(ctx context.Context,
	scope inventory.Scope) (all []inventory.JoinToken, err error) {
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.JoinTokens().All(ctx, scope)
		return err
	})
	return all, err
}
