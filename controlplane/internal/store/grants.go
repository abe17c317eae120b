package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// AgentGrants keeps which operators may change what of which agents.
type AgentGrants struct{ tx *Tx }

// AgentGrants gives the grants.
func (tx *Tx) AgentGrants() AgentGrants { return AgentGrants{tx: tx} }

// grantCounter numbers the lists of grants.
const grantCounter = "agent grants"

const grantColumns = "id, server, operator, key_print, reason, creator, created_at, expires_at, " +
	"revoked_at"

// Insert adds a grant.
func (g AgentGrants) Insert(ctx context.Context, grant inventory.AgentGrant) error {
	_, err := g.tx.exec(ctx, insertSQL("agent_grants", grantColumns), grant.ID, grant.Server,
		grant.Operator, grant.KeyPrint, grant.Reason, grant.Creator, millis(grant.Created),
		millis(grant.Expires), millis(grant.RevokedAt))
	return g.renumber(ctx, 1, err)
}

// Get reads a grant, or answers inventory.ErrNotFound.
func (g AgentGrants) Get(ctx context.Context, id string) (inventory.AgentGrant, error) {
	grant, err := scanGrant(g.tx.sql.QueryRowContext(ctx,
		"SELECT "+grantColumns+" FROM agent_grants WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return grant, inventory.NotFound(errs.WithHint("name one that exists",
			errs.Call("ListAgentGrants")), "there is no grant %s", id)
	}
	return grant, err
}

// All reads all grants on the agents of servers of the scope, or of the server alone, the newest
// first.
func (g AgentGrants) All(ctx context.Context, server string,
	scope inventory.Scope) ([]inventory.AgentGrant, error) {
	var where conditions
	where.equal("server", server)
	where.inScope(scope, named("server", ""))
	return rowsOf(ctx, g.tx, scanGrant, "SELECT "+grantColumns+" FROM agent_grants"+
		where.where()+" ORDER BY created_at DESC, id", where.args...)
}

// InForce reads the grants that are in force, and the number of that list: it is greater after each
// grant and each revocation, and after a restore.
func (g AgentGrants) InForce(ctx context.Context) (sequence int64, all []inventory.AgentGrant,
	err error) {
	if sequence, err = g.tx.counter(ctx, grantCounter); err != nil {
		return 0, nil, err
	}
	all, err = rowsOf(ctx, g.tx, scanGrant, "SELECT "+grantColumns+" FROM agent_grants WHERE "+
		"revoked_at = 0 AND expires_at > ? ORDER BY id", millis(g.tx.now))
	return sequence, all, err
}

// Revoke ends a grant, for good: a clock that says that it is over may be set back.
func (g AgentGrants) Revoke(ctx context.Context, id string) error {
	return g.end(ctx, "id = ?", id)
}

// endOf ends the grants of an operator, or those on an agent, whose certificates are revoked.
func (g AgentGrants) endOf(ctx context.Context, revoked string) error {
	who, foreign := identity.Parse(revoked)
	if foreign == nil && who.Role == identity.RoleAgent {
		return g.end(ctx, "server = ?", who.Name)
	}
	return g.end(ctx, "operator = ?", revoked)
}

func (g AgentGrants) end(ctx context.Context, which, value string) error {
	n, err := g.tx.exec(ctx, "UPDATE agent_grants SET revoked_at = ? WHERE "+which+
		" AND revoked_at = 0", millis(g.tx.now), value)
	return g.renumber(ctx, n, err)
}

// renumber gives the list another number when something of it was changed.
func (g AgentGrants) renumber(ctx context.Context, changed int64, err error) error {
	if err == nil && changed > 0 {
		_, err = g.tx.Next(ctx, grantCounter, 1)
	}
	return err
}

func scanGrant(row scanner) (g inventory.AgentGrant, err error) {
	err = row.Scan(&g.ID, &g.Server, &g.Operator, &g.KeyPrint, &g.Reason, &g.Creator,
		moment{&g.Created}, moment{&g.Expires}, moment{&g.RevokedAt})
	return g, err
}
