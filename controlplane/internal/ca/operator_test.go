package ca_test

import (
	"errors"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func operatorPeer(t *testing.T, bundle ca.OperatorBundle) identity.Peer {
	t.Helper()
	cert := parse(t, bundle.Certificate)
	id, err := identity.FromCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Peer{Identity: id, Certificate: cert}
}

// An operator renews a certificate for the same key until it is revoked, and no longer.
func TestAnOperatorRenewsUntilRevoked(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	first, err := h.registry.CreateOperator(t.Context(),
		ca.OperatorRequest{Name: "bob", CSR: csr(t, key), Caller: ca.Caller{Actor: "ann"}})
	if err != nil {
		t.Fatal(err)
	}
	peer := operatorPeer(t, first)
	if peer.Identity != identity.Operator("bob") || len(first.Addresses) == 0 {
		t.Errorf("got %v at %v", peer.Identity, first.Addresses)
	}
	h.clock.forward(10 * time.Minute)
	second, err := h.registry.RenewOperator(t.Context(), peer, csr(t, key), "r1")
	if err != nil || !second.Expires.After(first.Expires) {
		t.Fatalf("renewed until %v, before %v: %v", second.Expires, first.Expires, err)
	}
	serials, err := h.registry.Revoke(t.Context(), ca.RevokeRequest{Who: identity.Operator("bob"),
		Reason: "left", Caller: ca.Caller{Actor: "ann"}})
	if err != nil || len(serials) != 2 {
		t.Fatalf("revoked %v: %v", serials, err)
	}
	for _, bundle := range []ca.OperatorBundle{first, second} {
		_, err := h.registry.RenewOperator(t.Context(), operatorPeer(t, bundle), csr(t, key), "r2")
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
			t.Errorf("renewed after revocation: %v", err)
		}
	}
}

func TestBadRequestsForOperators(t *testing.T) {
	t.Parallel()
	h := build(t)
	good := csr(t, newKey(t))
	for _, req := range []ca.OperatorRequest{{Name: "Bob B", CSR: good}, {Name: "bob"},
		{Name: "bob", CSR: rsaCSR(t)}} {
		if _, err := h.registry.CreateOperator(t.Context(), req); !errors.Is(err,
			errs.InvalidArgument) {
			t.Errorf("%s: %v", req.Name, err)
		}
	}
	dry, err := h.registry.CreateOperator(t.Context(),
		ca.OperatorRequest{Name: "bob", CSR: good, ValidateOnly: true})
	if err != nil || dry.Certificate != nil {
		t.Errorf("a dry run issued a certificate: %v", err)
	}
	bundle, err := h.enroll(h.joinFile("db-1").Token, "db-1", keys(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.registry.RenewOperator(t.Context(), peer(t, bundle), good,
		"r1"); !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("an agent renewed as an operator: %v", err)
	}
}
