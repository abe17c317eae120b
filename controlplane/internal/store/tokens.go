package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// JoinTokens keeps join tokens, by hash.
type JoinTokens struct{ tx *Tx }

// JoinTokens gives the join tokens.
func (tx *Tx) JoinTokens() JoinTokens { return JoinTokens{tx: tx} }

const tokenColumns = "hash, server, creator, created_at, expires_at, used_by, used_at, revoked_at"

// Insert adds a token.
func (j JoinTokens) Insert(ctx context.Context, t inventory.JoinToken) error {
	_, err := j.tx.exec(ctx, insertSQL("tokens", tokenColumns), t.Hash, t.Server, t.Creator,
		millis(t.Created), millis(t.Expires), t.UsedBy, millis(t.UsedAt), millis(t.RevokedAt))
	return err
}

// Get reads a token by its hash, or answers inventory.ErrNotFound. The refusal does not show the
// hash.
func (j JoinTokens) Get(ctx context.Context, hash string) (inventory.JoinToken, error) {
	t, err := scanToken(j.tx.sql.QueryRowContext(ctx,
		"SELECT "+tokenColumns+" FROM tokens WHERE hash = ?", hash))
	if errors.Is(err, sql.ErrNoRows) {
		return t, inventory.NotFound(errs.WithHint("make a new join token for the server"),
			"the join token is unknown")
	}
	return t, err
}

// All reads all tokens for servers of the scope, the newest first.
func (j JoinTokens) All(ctx context.Context,
	scope inventory.Scope) ([]inventory.JoinToken, error) {
	var where conditions
	where.inScope(scope, named("server", ""))
	return rowsOf(ctx, j.tx, scanToken, "SELECT "+tokenColumns+" FROM tokens"+where.where()+
		" ORDER BY created_at DESC, hash", where.args...)
}

func scanToken(row scanner) (t inventory.JoinToken, err error) {
	err = row.Scan(&t.Hash, &t.Server, &t.Creator, moment{&t.Created}, moment{&t.Expires},
		&t.UsedBy, moment{&t.UsedAt}, moment{&t.RevokedAt})
	return t, err
}

// Spend writes that JoinToken.Redeem marked the token as used, if it still is unused or was used by
// the same key, and good. Otherwise it answers a refusal with errs.PermissionDenied.
func (j JoinTokens) Spend(ctx context.Context, t inventory.JoinToken) error {
	n, err := j.tx.exec(ctx, "UPDATE tokens SET used_by = ?, used_at = ? WHERE hash = ? AND "+
		"revoked_at = 0 AND (used_by = '' OR used_by = ?)",
		t.UsedBy, millis(t.UsedAt), t.Hash, t.UsedBy)
	if err == nil && n == 0 {
		return inventory.TokenUsed(t.Server)
	}
	return err
}

// OfMachine reads all tokens that are for that machine of a provider.
func (j JoinTokens) OfMachine(ctx context.Context,
	provider, machine string) ([]inventory.JoinToken, error) {
	begin := inventory.MachineKeys(provider, machine)
	return rowsOf(ctx, j.tx, scanToken, "SELECT "+tokenColumns+
		" FROM tokens WHERE SUBSTR(hash, 1, ?) = ? ORDER BY created_at DESC, hash", len(begin),
		begin)
}

// SpendAs writes that an unused token is used, and keeps it under the hash that it has now in place
// of the one until now. Otherwise it answers a refusal with errs.PermissionDenied.
func (j JoinTokens) SpendAs(ctx context.Context, hash string, t inventory.JoinToken) error {
	n, err := j.tx.exec(ctx, "UPDATE tokens SET hash = ?, used_by = ?, used_at = ? WHERE hash = ? "+
		"AND revoked_at = 0 AND used_by = ''", t.Hash, t.UsedBy, millis(t.UsedAt), hash)
	if err == nil && n == 0 {
		return inventory.TokenUsed(t.Server)
	}
	return err
}

// Rekey keeps an unused token under the hash that it has now in place of the one until now, so that
// the secret until now is worth nothing. Otherwise it answers a refusal with errs.PermissionDenied.
func (j JoinTokens) Rekey(ctx context.Context, hash string, t inventory.JoinToken) error {
	n, err := j.tx.exec(ctx, "UPDATE tokens SET hash = ? WHERE hash = ? AND revoked_at = 0 AND "+
		"used_by = ''", t.Hash, hash)
	if err == nil && n == 0 {
		return inventory.TokenUsed(t.Server)
	}
	return err
}

// Revoke ends the tokens of a creator that are unused, and says how many.
func (j JoinTokens) Revoke(ctx context.Context, creator string) (int64, error) {
	now := millis(j.tx.now)
	return j.tx.exec(ctx, "UPDATE tokens SET revoked_at = ? WHERE creator = ? AND used_by = '' "+
		"AND revoked_at = 0 AND expires_at > ?", now, creator, now)
}
