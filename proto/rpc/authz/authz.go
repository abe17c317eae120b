// Package authz says who may call what: a table from each method to the roles that may call it. A
// method that is not in the table is refused to everybody.
package authz

import (
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Table holds, for each full method (`/package.Service/Method`), the roles that may call it.
type Table map[string][]identity.Role

// Readers are the operators who may read, which are all, and also others.
func Readers(also ...identity.Role) []identity.Role {
	return append(identity.Operators(), also...)
}

// Changers are the operators who may change servers, and also others.
func Changers(also ...identity.Role) []identity.Role {
	return append([]identity.Role{identity.RoleOperator, identity.RoleAdmin}, also...)
}

// Admins are the operators who may change who the operators are, and also others.
func Admins(also ...identity.Role) []identity.Role {
	return append([]identity.Role{identity.RoleAdmin}, also...)
}

// Infrastructure is the rules for health and reflection, which every server has: health for any
// certificate of the fleet, reflection for operators and the control plane, both for who calls over
// a socket.
func Infrastructure() Table {
	anyone := Readers(identity.RoleControlPlane, identity.RoleAgent, identity.RoleBreakGlass)
	trusted := Readers(identity.RoleControlPlane, identity.RoleBreakGlass)
	return Table{
		"/grpc.health.v1.Health/Check":                                   anyone,
		"/grpc.health.v1.Health/List":                                    anyone,
		"/grpc.health.v1.Health/Watch":                                   anyone,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      trusted,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": trusted,
	}
}

// Merge is all rules of the tables. A method in two of them is an error: one place says who may
// call it.
func Merge(tables ...Table) (Table, error) {
	merged := Table{}
	for _, table := range tables {
		for method, roles := range table {
			if _, twice := merged[method]; twice {
				return nil, fmt.Errorf("two access rules for %s", method)
			}
			merged[method] = slices.Clone(roles)
		}
	}
	return merged, nil
}

// Guard refuses calls that the table does not allow.
type Guard struct {
	table   Table
	revoked func(serial string) bool
}

// NewGuard guards with that table. Revoked is asked on every call, since a connection outlives the
// handshake; nil denies none.
func NewGuard(table Table, revoked func(serial string) bool) *Guard {
	return &Guard{table: table, revoked: revoked}
}

// Check is nil when the caller may call the method: PERMISSION_DENIED when its role may not,
// UNAUTHENTICATED when it has none or its certificate is revoked.
func (g *Guard) Check(caller identity.Peer, method string) error {
	if g.revoked != nil && caller.Certificate != nil && g.revoked(caller.Serial()) {
		return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_CERTIFICATE_REVOKED,
			fmt.Sprintf("certificate of %s is revoked", caller.Identity),
			errs.WithHint("ask an admin for new credentials; an agent enrols again with a new "+
				"join token", another(caller.Identity)))
	}
	roles, known := g.table[method]
	switch {
	case known && slices.Contains(roles, caller.Identity.Role):
		return nil
	case caller.Identity.Role == identity.RoleAnonymous:
		return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_UNAUTHENTICATED,
			fmt.Sprintf("cannot call %s without a certificate", method),
			errs.WithHint("show an operator's certificate, such as the one that the control plane "+
				"keeps in operator/ of its state directory"))
	default:
		return errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED,
			fmt.Sprintf("%s may not call %s", caller.Identity, method), errs.Meta("method", method),
			errs.WithHint(hint(roles)))
	}
}

func hint(roles []identity.Role) string {
	if len(roles) == 0 {
		return "nobody may call it on this server"
	}
	var names strings.Builder
	for i, role := range roles {
		switch {
		case i > 0 && i == len(roles)-1:
			names.WriteString(" or ")
		case i > 0:
			names.WriteString(", ")
		}
		names.WriteString(string(role))
	}
	return "call it in the role " + names.String()
}

// another makes a new certificate for somebody.
func another(who identity.Identity) errs.Action {
	if who.Role.IsOperator() {
		return errs.Call("CreateOperator", "name", "operators/"+who.Name)
	}
	return errs.Call("CreateJoinToken")
}
