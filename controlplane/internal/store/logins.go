package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Logins keeps the persons who logged in, and which ID tokens they used.
type Logins struct{ tx *Tx }

// Logins gives the persons who logged in.
func (tx *Tx) Logins() Logins { return Logins{tx: tx} }

const loginColumns = "person, name, issuer, subject, shown, login_at, revoked_at, reason"

// Get reads the record of a person, or answers inventory.ErrNotFound.
func (l Logins) Get(ctx context.Context, person inventory.Person) (inventory.Login, error) {
	return l.one(ctx, "person", person.Key())
}

// Named reads the record of the operator of that name, or answers inventory.ErrNotFound.
func (l Logins) Named(ctx context.Context, operator string) (inventory.Login, error) {
	return l.one(ctx, "name", operator)
}

func (l Logins) one(ctx context.Context, column, value string) (inventory.Login, error) {
	found, err := scanLogin(l.tx.sql.QueryRowContext(ctx,
		"SELECT "+loginColumns+" FROM logins WHERE "+column+" = ?", value))
	if errors.Is(err, sql.ErrNoRows) {
		return found, inventory.NotFound(errs.WithHint("name one who logged in",
			errs.Call("ListOperators")), "nobody of that name logged in")
	}
	return found, err
}

// All reads all, by the operator's name.
func (l Logins) All(ctx context.Context) (map[string]inventory.Login, error) {
	rows, err := rowsOf(ctx, l.tx, scanLogin, "SELECT "+loginColumns+" FROM logins")
	all := make(map[string]inventory.Login, len(rows))
	for _, row := range rows {
		all[row.Operator] = row
	}
	return all, err
}

// Put writes the record of a person in place of the one of before.
func (l Logins) Put(ctx context.Context, login inventory.Login) error {
	if _, err := l.tx.exec(ctx, "DELETE FROM logins WHERE person = ?", login.Key()); err != nil {
		return err
	}
	_, err := l.tx.exec(ctx, insertSQL("logins", loginColumns), login.Key(), login.Operator,
		login.Issuer, login.Subject, login.Shown, millis(login.Last), millis(login.RevokedAt),
		login.Reason)
	return err
}

// Spend notes that an ID token is used, until nobody takes it any more, and says whether it is used
// for the first time. One of before a restore may have been used: it counts as used.
func (l Logins) Spend(ctx context.Context, hash string, issued,
	expires time.Time) (first bool, err error) {
	if _, restored, err := l.tx.restored(ctx); err != nil || millis(issued) <= restored {
		return false, err
	}
	_, err = l.tx.exec(ctx, "DELETE FROM id_tokens WHERE expires_at < ?", millis(l.tx.now))
	if err != nil {
		return false, err
	}
	known, err := rowsOf(ctx, l.tx, scanText, "SELECT hash FROM id_tokens WHERE hash = ?", hash)
	if err != nil || len(known) > 0 {
		return false, err
	}
	_, err = l.tx.exec(ctx, insertSQL("id_tokens", "hash, expires_at"), hash, millis(expires))
	return err == nil, err
}

func scanLogin(row scanner) (l inventory.Login, err error) {
	var key string
	err = row.Scan(&key, &l.Operator, &l.Issuer, &l.Subject, &l.Shown, moment{&l.Last},
		moment{&l.RevokedAt}, &l.Reason)
	return l, err
}
