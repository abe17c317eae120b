package ca

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Scope is the servers that a caller works with, as last read; empty for who works with all. Who
// shows a certificate of an operator with a scope, and has no record of it, works with none.
func (r *Registry) Scope(caller identity.Peer) inventory.Scope {
	if !caller.Identity.Role.IsOperator() {
		return nil
	}
	recorded, known := r.denied.list.Load().scopes[caller.Identity.Name]
	switch {
	case known:
		return inventory.ScopeOf(recorded)
	case caller.Certificate == nil || identity.Scoped(caller.Certificate):
		return inventory.NoServers()
	}
	return nil
}

// ScopeRequest asks for an operator to work with other servers.
type ScopeRequest struct {
	// Name is the operator's.
	Name string
	// Servers are patterns of servers' names.
	Servers []string
	// ValidateOnly changes nothing.
	ValidateOnly bool
	// Caller is who asks.
	Caller Caller
}

// SetScope has an operator work with other servers from now on. NOT_FOUND for who never had a
// certificate, otherwise refused as CreateOperator refuses a scope.
func (r *Registry) SetScope(ctx context.Context, req ScopeRequest) (inventory.Scope, error) {
	if inventory.IsPerson(req.Name) {
		return nil, notForLogins("name",
			"must not be one of those who log in: their groups say which servers")
	}
	next := inventory.ScopeOf(req.Servers)
	what := "cannot change which servers the operator " + req.Name + " works with"
	err := r.alone(ctx, what, func(ctx context.Context, records Records) error {
		if err := r.inForce(ctx, records, req.Caller.Peer); err != nil {
			return err
		}
		role, err := r.roleOf(ctx, records, req.Name)
		if err != nil {
			return err
		}
		who := identity.Identity{Role: role, Name: req.Name}
		if _, err := r.scoped(ctx, records, who, req.Servers); err != nil || req.ValidateOnly {
			return err
		}
		if err := records.Operators.SetScope(ctx, req.Name, next); err != nil {
			return err
		}
		return records.Events.Add(ctx, req.Caller.event(r.config.Now().UTC(), "operator.update",
			operatorSubject(req.Name), "works with "+scopeText(next)))
	})
	if err != nil || req.ValidateOnly {
		return next, err
	}
	return next, r.Refresh(ctx)
}

// roleOf is the role in which the operator has a good certificate, or the last one.
func (r *Registry) roleOf(ctx context.Context, records Records, name string) (identity.Role,
	error) {
	last := identity.Role("")
	for _, role := range identity.Operators() {
		known, good, err := r.goodOnes(ctx, records,
			[]string{identity.Identity{Role: role, Name: name}.String()})
		if err != nil || len(good) > 0 {
			return role, err
		}
		if known {
			last = role
		}
	}
	if last == "" {
		return "", errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
			"it never had a certificate",
			errs.WithHint("name one that exists", errs.Call("ListOperators")))
	}
	return last, nil
}

// scoped is the scope that the operator has when these patterns are asked for, none of which leaves
// the scope on record. A certificate says whether its operator has a scope, since agents let nobody
// in who has one: who has good ones for all servers gets none.
func (r *Registry) scoped(ctx context.Context, records Records, who identity.Identity,
	patterns []string) (inventory.Scope, error) {
	if records.Operators == nil {
		return nil, nil
	}
	all, err := records.Operators.Scopes(ctx)
	if err != nil {
		return nil, err
	}
	was, next := inventory.ScopeOf(all[who.Name]), inventory.ScopeOf(patterns)
	if len(patterns) == 0 {
		next = was
	}
	switch {
	case len(next) > 0 && who.Role == identity.RoleAdmin:
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			"an admin works with all servers",
			errs.Field("servers", "must be * for an admin, is "+strings.Join(next, ", ")),
			errs.WithHint("give * for the servers, or another role"))
	case len(next) > 0 && len(was) == 0:
		_, good, err := r.goodOnes(ctx, records, []string{who.String()})
		if err != nil || len(good) == 0 {
			return next, err
		}
		return nil, errs.New(errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS,
			fmt.Sprintf("operator %s has a valid certificate for all servers", who.Name),
			errs.WithHint("revoke it first, then create the operator for these servers",
				errs.Call("Revoke", "name", operatorSubject(who.Name))))
	}
	return next, nil
}

// knowsScope refuses to renew a certificate for some servers when the record of which was lost with
// a restore: the next one would be for all.
func knowsScope(ctx context.Context, records Records, peer identity.Peer) error {
	if records.Operators == nil || !identity.Scoped(peer.Certificate) {
		return nil
	}
	all, err := records.Operators.Scopes(ctx)
	if _, known := all[peer.Identity.Name]; known || err != nil {
		return err
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
		fmt.Sprintf("which servers %s works with is on no record", peer.Identity),
		errs.WithHint("ask an admin to create the operator again for these servers",
			another(peer.Identity)))
}

func scopeText(scope inventory.Scope) string {
	if len(scope) == 0 {
		return "all servers"
	}
	return "the servers " + strings.Join(slices.Clone(scope), ", ")
}
