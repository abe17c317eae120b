package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// operatorName is whose credentials lie ready in the state directory.
const operatorName = "admin"

// kept are the identities whose files are kept good: the control plane's own first, then the
// operator's.
func (c Config) kept() []ca.Kept {
	return []ca.Kept{
		{Dir: c.path("controlplane"), Identity: identity.ControlPlane()},
		{Dir: c.path("operator"), Identity: identity.Operator(operatorName)},
	}
}

// newRegistry opens the CA, makes what is missing of it, and sees that the kept identities are
// good.
func newRegistry(ctx context.Context, cfg Config, st *store.Store, advertise []string,
	enrolled func(server string), loops *loop.Set, log *slog.Logger) (*ca.Registry, error) {
	authority, err := ca.OpenAuthority(ca.AuthorityConfig{Dir: cfg.path("ca"), Logger: log})
	if err != nil {
		return nil, err
	}
	registry, err := ca.New(ctx, ca.Config{
		Authority: authority, Store: ca.StoreOf(st, identityRecords), ControlPlane: advertise,
		Enrolled: enrolled, Loops: loops, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	for _, k := range cfg.kept() {
		if err := registry.Keep(ctx, k); err != nil {
			return nil, err
		}
	}
	return registry, nil
}

// identityRecords is what of a transaction is about identities.
func identityRecords(tx *store.Tx) ca.Records {
	return ca.Records{
		Tokens: tx.JoinTokens(), Certificates: tx.Certificates(), Events: tx.Events(),
		NoteAgent: func(ctx context.Context, server, agentIdentity string) error {
			srv, err := tx.Servers().Get(ctx, server)
			if errors.Is(err, inventory.ErrNotFound) {
				return nil
			}
			if err != nil || srv.AgentIdentity == agentIdentity {
				return err
			}
			srv.AgentIdentity = agentIdentity
			return tx.Servers().Update(ctx, &srv)
		},
	}
}
