package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// operatorName is whose credentials lie ready in the state directory: the first admin's.
const operatorName = "admin"

// kept are the identities whose files are kept good: the control plane's own first, then the
// operator's.
func (c Config) kept() []ca.Kept {
	return []ca.Kept{
		{Dir: c.path("controlplane"), Identity: identity.ControlPlane()},
		{Dir: c.path("operator"), Identity: identity.Admin(operatorName)},
	}
}

// newRegistry opens the CA, makes what is missing of it, and sees that the kept identities are
// good.
func newRegistry(ctx context.Context, cfg Config, st *store.Store, advertise []string,
	enrolled, alarm func(string), attestor ca.Attestor, loops *loop.Set,
	log *slog.Logger) (*ca.Registry, error) {
	authority, err := openAuthority(ctx, cfg, st, log)
	if err == nil {
		err = sameAuthority(ctx, st, authority, cfg)
	}
	if err != nil {
		return nil, err
	}
	nat, err := cfg.attestNAT()
	if err != nil {
		return nil, fmt.Errorf("cannot use attest_nat: %w", err)
	}
	registry, err := ca.New(ctx, ca.Config{
		Authority: authority, Store: ca.StoreOf(st, identityRecords), ControlPlane: advertise,
		AgentLife: cfg.AgentCertificateLife, AgentGrace: cfg.AgentCertificateGrace,
		MariaDBLife: cfg.MariaDBCertificateLife, OperatorLife: cfg.OperatorCertificateLife,
		OperatorGrace: cfg.OperatorCertificateGrace,
		Enrolled:      enrolled, Alarm: alarm, Attestor: attestor, NAT: nat,
		Loops: loops, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return registry, keepAll(ctx, registry, cfg.kept(), log)
}

// identityRecords is what of a transaction is about identities.
func identityRecords(tx *store.Tx) ca.Records {
	return ca.Records{
		Tokens: tx.JoinTokens(), Certificates: tx.Certificates(), Events: tx.Events(),
		Operators: tx.Operators(), Lost: tx.Lost, Grants: tx.AgentGrants(),
		Logins: tx.Logins(), Requests: tx.Requests(), Restored: tx.RestoredAt,
		HasAgent: func(ctx context.Context, server string) error {
			srv, err := tx.Servers().Get(ctx, server)
			if err != nil {
				return err
			}
			return srv.HasAgent()
		},
		Primary: func(ctx context.Context, server string) (string, error) {
			srv, err := tx.Servers().Get(ctx, server)
			if errors.Is(err, inventory.ErrNotFound) {
				return "", nil
			}
			return srv.Primary, err
		},
		Machine: func(ctx context.Context, server string) (string, error) {
			srv, err := tx.Servers().Get(ctx, server)
			if errors.Is(err, inventory.ErrNotFound) {
				return "", nil
			}
			return srv.MachineID, err
		},
		Address: func(ctx context.Context, server string) (string, error) {
			srv, err := tx.Servers().Get(ctx, server)
			if errors.Is(err, inventory.ErrNotFound) {
				return "", nil
			}
			return srv.Address, err
		},
		NoteRoot: func(ctx context.Context, pin string) error {
			return tx.Resettle(ctx, rootFact, pin)
		},
		NoteAgent: func(ctx context.Context, server, agentIdentity string) error {
			return changeServer(ctx, tx, server, func(srv *inventory.Server) bool {
				before := srv.AgentIdentity
				srv.AgentIdentity = agentIdentity
				return before != agentIdentity
			})
		},
		NoteRevoked: func(ctx context.Context, server string, at time.Time) error {
			return changeServer(ctx, tx, server, func(srv *inventory.Server) bool {
				srv.AccessRevoked = at
				return srv.Primary != ""
			})
		},
	}
}

// changeServer writes the record of a server when it is another one then; there may be none.
func changeServer(ctx context.Context, tx *store.Tx, name string,
	change func(*inventory.Server) (changed bool)) error {
	srv, err := tx.Servers().Get(ctx, name)
	if errors.Is(err, inventory.ErrNotFound) {
		return nil
	}
	if err != nil || !change(&srv) {
		return err
	}
	return tx.Servers().Update(ctx, &srv)
}

// rootFact is the fact of the store which CA all control planes on it have.
const rootFact = "ca_pin"

// sameAuthority refuses a CA that is not the one of the control planes that share the store: agents
// that enrolled with one would not trust the other. While a root is being replaced it has two.
func sameAuthority(ctx context.Context, st *store.Store, authority *ca.Authority,
	cfg Config) error {
	pin := authority.Pin()
	if !cfg.ReplaceLostRoot {
		return claimed(ctx, st, cfg, pin, authority.Pins()...)
	}
	settled, err := pinned(ctx, st, rootFact, pin)
	if err != nil || slices.Contains(authority.Pins(), settled) {
		return err
	}
	return st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Resettle(ctx, rootFact, pin)
	})
}

// claimed has the store belong to the CA with that pin, or refuses when it belongs to another one
// than these. The first root is claimed before it is made: of two first starts on one store, each
// with a folder of its own, one makes a root.
func claimed(ctx context.Context, st *store.Store, cfg Config, pin string,
	believed ...string) error {
	settled, err := pinned(ctx, st, rootFact, pin)
	if err != nil || slices.Contains(believed, settled) {
		return err
	}
	dir := cfg.path("ca")
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
		fmt.Sprintf("cannot use the certificate authority in %s: its pin is %s, and the store "+
			"belongs to the one with pin %s", dir, pin, settled),
		errs.WithHint("replace "+dir+" by that folder of the control plane that made the store, "+
			"or use another store; when the root is lost, start once with --replace-lost-root"))
}

// pinned is the fact of the store that all control planes on it have: the first one's.
func pinned(ctx context.Context, st *store.Store, fact, own string) (settled string,
	err error) {
	err = st.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		settled, err = tx.Settle(ctx, fact, own)
		return err
	})
	return settled, err
}

// renewing has agents renew their certificates while the root is being replaced.
var renewing = loop.Spec{Name: "have agents renew for another root", Every: 10 * time.Second,
	Limit: 10 * time.Minute, LateAfter: 15 * time.Minute,
	Means: "the replacement of the root of the certificate authority waits for agents"}

// lagging are the servers that have to renew before the replacement of the root goes on.
func (a *App) lagging(ctx context.Context) (servers []string, err error) {
	status, err := ca.NewRotation(a.registry).Status(ctx)
	for _, l := range status.Lagging {
		server := strings.TrimPrefix(l.Name, "servers/")
		if l.Renews() && !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
	}
	return servers, err
}

// renew has a server's agent renew its certificate and that of its MariaDB, unless it shows to have
// them. Only a new connection shows what is new.
func (a *App) renew(ctx context.Context, server string) error {
	host, err := query.Servers{Store: a.st}.Address(ctx, server)
	if err != nil {
		return err
	}
	if _, err := a.agents.Reach(ctx, server, host); err != nil {
		return err
	}
	if lags, err := ca.NewRotation(a.registry).Lags(ctx, server); err != nil || !lags {
		return err
	}
	agent, err := a.agents.Agent(ctx, server)
	if err != nil {
		return err
	}
	if _, err := agent.RenewCertificates(ctx, kit.FencingToken{}); err != nil {
		return err
	}
	_, err = a.agents.Reach(ctx, server, host)
	return err
}
