package query

import (
	"context"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Operators reads who the operators are.
type Operators struct{ Store *store.Store }

// Operator is who has a certificate in a role, or had one, or who was revoked before the first
// login: in no role.
type Operator struct {
	identity.Identity
	// Newest is the newest certificate in that role.
	Newest inventory.Certificate
	// Scope is the servers that the operator works with; empty for all.
	Scope inventory.Scope
	// Login is the account that the operator logs in with; nil for who was created.
	Login *inventory.Login
}

// Key is what operators are sorted by: their names, then their roles. No name has a space.
func (o Operator) Key() string { return o.Name + " " + string(o.Role) }

// List reads all operators, sorted.
func (o Operators) List(ctx context.Context) (all []Operator, err error) {
	err = o.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		all = nil
		scopes, err := tx.Operators().Scopes(ctx)
		if err != nil {
			return err
		}
		logins, err := tx.Logins().All(ctx)
		if err != nil {
			return err
		}
		for _, role := range identity.Operators() {
			of := identity.Identity{Role: role}
			newest, err := tx.Certificates().Newest(ctx, of.String())
			if err != nil {
				return err
			}
			for _, cert := range newest {
				who, err := identity.Parse(cert.Identity)
				if err != nil {
					return err
				}
				found := Operator{Identity: who, Newest: cert,
					Scope: inventory.ScopeOf(scopes[who.Name])}
				if login, ok := logins[who.Name]; ok {
					found.Login = &login
				}
				all = append(all, found)
			}
		}
		for name, login := range logins {
			if login.IsFirst() && !login.RevokedAt.IsZero() {
				all = append(all, Operator{Identity: identity.Identity{Name: name},
					Login: &login})
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b Operator) int { return strings.Compare(a.Key(), b.Key()) })
	return all, err
}
