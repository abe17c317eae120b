package store

import (
	"context"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// Operators keeps which servers operators work with, by name. One without a record works with all.
type Operators struct{ tx *Tx }

// Operators gives the scopes of operators.
func (tx *Tx) Operators() Operators { return Operators{tx: tx} }

// Scopes reads all.
func (o Operators) Scopes(ctx context.Context) (map[string]inventory.Scope, error) {
	type row struct{ name, servers string }
	rows, err := rowsOf(ctx, o.tx, func(s scanner) (r row, err error) {
		err = s.Scan(&r.name, &r.servers)
		return r, err
	}, "SELECT name, servers FROM operators")
	scopes := make(map[string]inventory.Scope, len(rows))
	for _, r := range rows {
		scopes[r.name] = strings.Fields(r.servers)
	}
	return scopes, err
}

// SetScope writes the scope of an operator. Who had one and has none any more keeps a record that
// says so.
func (o Operators) SetScope(ctx context.Context, name string, scope inventory.Scope) error {
	n, err := o.tx.exec(ctx, "DELETE FROM operators WHERE name = ?", name)
	if err != nil || n == 0 && len(scope) == 0 {
		return err
	}
	if len(scope) == 0 {
		scope = inventory.Scope{inventory.AllServers}
	}
	_, err = o.tx.exec(ctx, insertSQL("operators", "name, servers"), name,
		strings.Join(scope, " "))
	return err
}
