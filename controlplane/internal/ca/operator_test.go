package ca_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// byRoot is break-glass, who shows no certificate.
func byRoot() ca.Caller {
	return ca.Caller{Peer: identity.Peer{Identity: identity.BreakGlass(0)}}
}

func operatorPeer(t *testing.T, bundle ca.OperatorBundle) identity.Peer {
	t.Helper()
	cert := parse(t, bundle.Certificate)
	id, err := identity.FromCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Peer{Identity: id, Certificate: cert}
}

// operator creates one, by root.
func (h *house) operator(who identity.Identity, key *ecdsa.PrivateKey) identity.Peer {
	h.t.Helper()
	bundle, err := h.registry.CreateOperator(h.t.Context(), ca.OperatorRequest{Name: who.Name,
		Role: who.Role, CSR: csr(h.t, key), Caller: byRoot()})
	if err != nil {
		h.t.Fatal(err)
	}
	return operatorPeer(h.t, bundle)
}

func (h *house) revoke(who identity.Identity) ca.Revoked {
	h.t.Helper()
	revoked, err := h.registry.Revoke(h.t.Context(), ca.RevokeRequest{Who: who, Reason: "left",
		Caller: byRoot()})
	if err != nil {
		h.t.Fatal(err)
	}
	return revoked
}

// An operator renews a certificate for the same key until it is revoked, and no longer, and stays
// in its role.
func TestAnOperatorRenewsUntilRevoked(t *testing.T) {
	t.Parallel()
	for _, who := range []identity.Identity{identity.Viewer("bob"), identity.Operator("bob"),
		identity.Admin("bob")} {
		h, key := build(t), newKey(t)
		first := h.operator(who, key)
		if first.Identity != who {
			t.Errorf("got %v, want %v", first.Identity, who)
		}
		h.clock.forward(10 * time.Minute)
		renewed, err := h.registry.RenewOperator(t.Context(), first, csr(t, key), "r1")
		if err != nil || len(renewed.Addresses) == 0 ||
			!renewed.Expires.After(first.Certificate.NotAfter) {
			t.Fatalf("renewed until %v: %v", renewed.Expires, err)
		}
		second := operatorPeer(t, renewed)
		if second.Identity != who {
			t.Errorf("%v renewed as %v", who, second.Identity)
		}
		// The name alone says whose: not the role.
		if revoked := h.revoke(identity.Operator("bob")); len(revoked.Serials) != 2 {
			t.Fatalf("revoked %v", revoked)
		}
		for _, peer := range []identity.Peer{first, second} {
			_, err := h.registry.RenewOperator(t.Context(), peer, csr(t, newKey(t)), "r2")
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
				t.Errorf("renewed after revocation: %v", err)
			}
		}
	}
}

// A stolen key does not fill the records.
func TestRenewalsAreLimited(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	bob := h.operator(identity.Operator("bob"), key)
	renew := func() error {
		_, err := h.registry.RenewOperator(t.Context(), bob, csr(t, key), "r1")
		return err
	}
	refused := 0
	for range 30 {
		h.clock.forward(time.Minute)
		if err := renew(); errors.Is(err, errs.ResourceExhausted) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	after, _ := errs.RetryOf(renew())
	if refused != 11 || after <= 23*time.Hour {
		t.Errorf("%d of 30 refused, the next is worth a try in %s", refused, after)
	}
	h.clock.forward(after)
	if err := renew(); err != nil {
		t.Error(err)
	}
	h.clock.forward(366 * 24 * time.Hour) // on a connection that is still open
	if err := renew(); !errors.Is(err, errs.Unauthenticated) {
		t.Errorf("an expired certificate: %v", err)
	}
}

// What a signing request says beside its key counts for nothing.
func TestAnOperatorGetsNoRoleBySigningRequest(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	vic := h.operator(identity.Viewer("vic"), key)
	greedy, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		URIs: []*url.URL{identity.Admin("vic").URI()}, DNSNames: []string{"controlplane"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := h.registry.RenewOperator(t.Context(), vic, greedy, "r1")
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, bundle.Certificate)
	if got := operatorPeer(t, bundle); got.Identity != vic.Identity || len(cert.DNSNames) != 0 {
		t.Errorf("a viewer became %v of %v", got.Identity, cert.DNSNames)
	}
}

func TestNobodyGivesARoleAboveTheirOwn(t *testing.T) {
	t.Parallel()
	h := build(t)
	callers := map[string]identity.Peer{"viewer": h.operator(identity.Viewer("vic"), newKey(t)),
		"operator": h.operator(identity.Operator("ann"), newKey(t)),
		"admin":    h.operator(identity.Admin("ada"), newKey(t)), "root": byRoot().Peer}
	gives := map[string]int{"viewer": 1, "operator": 2, "admin": 3, "root": 3}
	for name, peer := range callers {
		for i, role := range identity.Operators() {
			for _, dry := range []bool{true, false} {
				_, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{
					Name: "new-" + name + "-" + string(role), Role: role, CSR: csr(t, newKey(t)),
					ValidateOnly: dry, Caller: ca.Caller{Peer: peer}})
				if may := i < gives[name]; may && err != nil ||
					!may && !errors.Is(err, errs.PermissionDenied) {
					t.Errorf("%s gives the role %s: %v", name, role, err)
				}
			}
		}
	}
	for _, nobody := range []identity.Peer{{}, {Identity: identity.Anonymous()},
		{Identity: identity.Agent("db-1")}, {Identity: identity.Admin("ada")}} {
		if _, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "eve",
			Role: identity.RoleViewer, CSR: csr(t, newKey(t)),
			Caller: ca.Caller{Peer: nobody}}); err == nil {
			t.Errorf("%v, who has no certificate, made an operator", nobody.Identity)
		}
	}
}

// Another control plane revoked the caller, and this one has not read the deny list since.
func TestARevokedAdminChangesNothing(t *testing.T) {
	t.Parallel()
	h := build(t)
	ada := ca.Caller{Peer: h.operator(identity.Admin("ada"), newKey(t))}
	h.operator(identity.Operator("ann"), newKey(t))
	here := h.registry
	h.registry = h.open()
	h.revoke(identity.Admin("ada"))
	if here.Denied(ada.Peer.Serial()) {
		t.Fatal("the deny list was read")
	}
	_, err := here.CreateOperator(t.Context(), ca.OperatorRequest{Name: "eve",
		Role: identity.RoleViewer, CSR: csr(t, newKey(t)), Caller: ada})
	_, err2 := here.Revoke(t.Context(), ca.RevokeRequest{Who: identity.Operator("ann"),
		Reason: "spite", Caller: ada})
	for _, err := range []error{err, err2} {
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
			t.Error(err)
		}
	}
}

// A connection goes on after the certificate that it began with has expired.
func TestAnExpiredAdminChangesNothing(t *testing.T) {
	t.Parallel()
	h := build(t)
	ada := ca.Caller{Peer: h.operator(identity.Admin("ada"), newKey(t))}
	h.operator(identity.Operator("ann"), newKey(t))
	h.clock.forward(ada.Peer.Certificate.NotAfter.Sub(h.clock.Now()))
	_, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "ada",
		Role: identity.RoleAdmin, CSR: csr(t, newKey(t)), Caller: ada})
	_, err2 := h.registry.Revoke(t.Context(), ca.RevokeRequest{Who: identity.Operator("ann"),
		Reason: "spite", Caller: ada})
	for _, err := range []error{err, err2} {
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_UNAUTHENTICATED {
			t.Error(err)
		}
	}
}

func TestAnOperatorHasOneRole(t *testing.T) {
	t.Parallel()
	h := build(t)
	promote := func(dry bool) error {
		_, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "bob",
			Role: identity.RoleAdmin, CSR: csr(t, newKey(t)), ValidateOnly: dry, Caller: byRoot()})
		return err
	}
	h.operator(identity.Viewer("bob"), newKey(t))
	h.operator(identity.Viewer("bob"), newKey(t)) // another laptop
	for _, dry := range []bool{true, false} {
		if err := promote(dry); !errors.Is(err, errs.AlreadyExists) ||
			errs.HintOf(err).String() == "" {
			t.Errorf("two roles: %v", err)
		}
	}
	h.revoke(identity.Operator("bob"))
	if err := promote(false); err != nil {
		t.Error(err)
	}
}

func TestARevokedKeyIsNotCertifiedAgain(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	h.operator(identity.Operator("bob"), key)
	h.revoke(identity.Operator("bob"))
	for _, name := range []string{"bob", "eve"} {
		_, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: name,
			Role: identity.RoleOperator, CSR: csr(t, key), Caller: byRoot()})
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
			t.Errorf("%s: %v", name, err)
		}
	}
	eve := h.operator(identity.Operator("eve"), newKey(t))
	if _, err := h.registry.RenewOperator(t.Context(), eve, csr(t, key), "r1"); errs.ReasonOf(
		err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("renewed for a revoked key: %v", err)
	}
}

// The certificate of a key that is stolen may have expired when that is found out.
func TestAKeyIsNotCertifiedAgainWhoseCertificateHadExpired(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	bob := h.operator(identity.Operator("bob"), key)
	h.clock.forward(bob.Certificate.NotAfter.Sub(h.clock.Now()))
	if revoked := h.revoke(identity.Operator("bob")); len(revoked.Serials) != 0 {
		t.Errorf("%v was good", revoked.Serials)
	}
	_, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "eve",
		Role: identity.RoleOperator, CSR: csr(t, key), Caller: byRoot()})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("the key is certified again: %v", err)
	}
}

func TestTheLastAdminCanBeRevoked(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.operator(identity.Admin("ada"), newKey(t))
	h.operator(identity.Admin("bea"), newKey(t))
	h.operator(identity.Operator("ann"), newKey(t))
	for _, left := range []struct {
		revoked string
		none    bool
	}{{"ada", false}, {"ann", false}, {"bea", true}, {"ada", true}} {
		who := identity.Operator(left.revoked)
		dry, err := h.registry.Revoke(t.Context(), ca.RevokeRequest{Who: who, ValidateOnly: true,
			Caller: byRoot()})
		if err != nil || dry.NoAdminLeft != left.none {
			t.Errorf("would revoke %s: %v %v", left.revoked, dry, err)
		}
		if revoked := h.revoke(who); revoked.NoAdminLeft != left.none {
			t.Errorf("revoked %s: %v", left.revoked, revoked)
		}
	}
	h.operator(identity.Admin("ada"), newKey(t))
}

func TestBadRequestsForOperators(t *testing.T) {
	t.Parallel()
	h := build(t)
	good := csr(t, newKey(t))
	for _, req := range []ca.OperatorRequest{
		{Name: "Bob B", Role: identity.RoleViewer, CSR: good},
		{Name: "bob", Role: identity.RoleViewer},
		{Name: "bob", Role: identity.RoleViewer, CSR: rsaCSR(t)},
		{Name: "bob", CSR: good}, {Name: "bob", Role: identity.RoleControlPlane, CSR: good},
		{Name: "bob", Role: identity.RoleAgent, CSR: good},
		{Name: "bob", Role: identity.RoleBreakGlass, CSR: good},
		{Name: "bob", Role: "root", CSR: good}} {
		req.Caller = byRoot()
		if _, err := h.registry.CreateOperator(t.Context(), req); !errors.Is(err,
			errs.InvalidArgument) {
			t.Errorf("%s: %v", req.Name, err)
		}
	}
	dry, err := h.registry.CreateOperator(t.Context(),
		ca.OperatorRequest{Name: "bob", Role: identity.RoleAdmin, CSR: good, ValidateOnly: true,
			Caller: byRoot()})
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
