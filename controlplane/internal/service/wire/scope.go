package wire

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

type scopeKey struct{}

// WithScope is a context of a call by somebody who works with these servers.
func WithScope(ctx context.Context, scope inventory.Scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, scope)
}

// ScopeOf is the servers that the caller works with; empty for all. Every list is narrowed to it
// where it is read.
func ScopeOf(ctx context.Context) inventory.Scope {
	scope, _ := ctx.Value(scopeKey{}).(inventory.Scope)
	return scope
}
