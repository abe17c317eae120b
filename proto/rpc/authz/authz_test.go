package authz_test

import (
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"

	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestInfrastructureIsComplete(t *testing.T) {
	t.Parallel()
	methods := authz.MethodsOf(grpc_health_v1.File_grpc_health_v1_health_proto,
		reflectionv1.File_grpc_reflection_v1_reflection_proto,
		reflectionv1alpha.File_grpc_reflection_v1alpha_reflection_proto)
	if err := authz.Complete(authz.Infrastructure(), methods); err != nil {
		t.Error(err)
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	operator := []identity.Role{identity.RoleOperator}
	tests := []struct {
		name  string
		table authz.Table
		want  string
	}{
		{"fits", authz.Table{"/a/B": operator}, ""},
		{"method without rule", authz.Table{}, "no access rule for /a/B"},
		{"rule without method", authz.Table{"/a/B": operator, "/a/C": operator},
			"/a/C, which is not there"},
		{"rule without role", authz.Table{"/a/B": nil}, "names no role"},
		{"unknown role", authz.Table{"/a/B": {"root"}}, "unknown role"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := authz.Complete(test.table, []string{"/a/B"})
			if test.want == "" && err == nil || test.want != "" && err != nil &&
				strings.Contains(err.Error(), test.want) {
				return
			}
			t.Errorf("got %v, want %q", err, test.want)
		})
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	table := authz.Table{
		"/s/Operate": {identity.RoleOperator, identity.RoleControlPlane},
		"/s/Renew":   {identity.RoleAgent},
		"/s/Enroll":  {identity.RoleAnonymous},
	}
	certificate := func(
		serial int64) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial)}
	}
	guard := authz.NewGuard(table, func(serial string) bool { return serial == "d" })
	tests := []struct {
		name   string
		caller identity.Peer
		method string
		kind   error
		reason errorsv1.Reason
	}{
		{name: "operator", caller: identity.Peer{Identity: identity.Operator("ann"),
			Certificate: certificate(1)}, method: "/s/Operate"},
		{name: "control plane", caller: identity.Peer{Identity: identity.ControlPlane()},
			method: "/s/Operate"},
		{name: "viewer operates", caller: identity.Peer{Identity: identity.Viewer("vic")},
			method: "/s/Operate",
			kind:   errs.PermissionDenied, reason: errorsv1.Reason_REASON_NOT_ALLOWED},
		{name: "admin operates, who is not named",
			caller: identity.Peer{Identity: identity.Admin("ada")}, method: "/s/Operate",
			kind: errs.PermissionDenied, reason: errorsv1.Reason_REASON_NOT_ALLOWED},
		{name: "root operates", caller: identity.Peer{Identity: identity.BreakGlass(0)},
			method: "/s/Operate",
			kind:   errs.PermissionDenied, reason: errorsv1.Reason_REASON_NOT_ALLOWED},
		{name: "agent renews", caller: identity.Peer{Identity: identity.Agent("db-1")},
			method: "/s/Renew"},
		{name: "anonymous enrols", caller: identity.Peer{Identity: identity.Anonymous()},
			method: "/s/Enroll"},
		{name: "agent operates", caller: identity.Peer{Identity: identity.Agent("db-1")},
			method: "/s/Operate",
			kind:   errs.PermissionDenied, reason: errorsv1.Reason_REASON_NOT_ALLOWED},
		{name: "anonymous operates", caller: identity.Peer{Identity: identity.Anonymous()},
			method: "/s/Operate",
			kind:   errs.Unauthenticated, reason: errorsv1.Reason_REASON_UNAUTHENTICATED},
		{name: "nobody", caller: identity.Peer{}, method: "/s/Operate",
			kind: errs.PermissionDenied, reason: errorsv1.Reason_REASON_NOT_ALLOWED},
		{name: "method without a rule", caller: identity.Peer{Identity: identity.Operator("ann")},
			method: "/s/New",
			kind:   errs.PermissionDenied, reason: errorsv1.Reason_REASON_NOT_ALLOWED},
		{name: "revoked", caller: identity.Peer{Identity: identity.Operator("ann"),
			Certificate: certificate(13)}, method: "/s/Operate",
			kind: errs.Unauthenticated, reason: errorsv1.Reason_REASON_CERTIFICATE_REVOKED},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := guard.Check(test.caller, test.method)
			if test.kind == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, test.kind) || errs.ReasonOf(err) != test.reason ||
				errs.HintOf(err).String() == "" {
				t.Errorf("%v: %v, hint %q", err, errs.ReasonOf(err), errs.HintOf(err).String())
			}
		})
	}
}

func TestMergeRefusesTwoRules(t *testing.T) {
	t.Parallel()
	one := authz.Table{"/a/B": {identity.RoleOperator}}
	if _, err := authz.Merge(one, authz.Infrastructure(), one); err == nil {
		t.Error("two rules for one method")
	}
	if merged, err := authz.Merge(one, authz.Infrastructure()); err != nil || len(merged) != 6 {
		t.Errorf("%v %v", merged, err)
	}
}
