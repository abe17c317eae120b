package ca_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const day = 24 * time.Hour

// expired asks for another certificate in place of one, for a key.
func (h *house) expired(certificate []byte, key *ecdsa.PrivateKey) (ca.Renewed, error) {
	return h.registry.RenewExpired(h.t.Context(), ca.ExpiredRequest{Certificate: certificate,
		CSR: csr(h.t, key), TakesChain: true, Address: "10.0.0.7:5000", RequestID: "r"})
}

// agent enrols one with that key.
func (h *house) agent(server string, key *ecdsa.PrivateKey) ca.Bundle {
	h.t.Helper()
	bundle, err := h.enroll(h.joinFile(server).Token, server,
		ca.Keys{Agent: csr(h.t, key), MariaDB: csr(h.t, newKey(h.t))})
	if err != nil {
		h.t.Fatal(err)
	}
	return bundle
}

func refusedFor(t *testing.T, err error, reason errorsv1.Reason, why string) {
	t.Helper()
	if errs.KindOf(err) != errs.Unauthenticated || errs.ReasonOf(err) != reason ||
		!strings.Contains(err.Error(), why) || errs.HintOf(err).Empty() {
		t.Errorf("want %s %q, got %v; %s", reason, why, err, errs.HintOf(err))
	}
}

// Certificates of agents last a day, and 30 days more their key gets another one.
func TestAnExpiredAgentRenewsByItsKey(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	bundle := h.agent("db-1", key)
	if left := parse(t, bundle.Agent).NotAfter.Sub(h.clock.Now()); left != day {
		t.Errorf("an agent's certificate lasts %s", left)
	}
	if left := parse(t, bundle.MariaDB).NotAfter.Sub(h.clock.Now()); left != 30*day {
		t.Errorf("MariaDB's certificate lasts %s", left)
	}
	h.clock.forward(30 * day)
	renewed, err := h.expired(bundle.Agent, key)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, renewed.Certificate)
	if who, err := identity.FromCertificate(cert); err != nil || who != identity.Agent("db-1") ||
		!key.PublicKey.Equal(cert.PublicKey) || cert.NotAfter.Sub(h.clock.Now()) != day ||
		len(cert.IPAddresses) != 1 || !bytes.Equal(renewed.CA, h.read("ca", "ca.pem")) {
		t.Errorf("%s: %+v %v", who, cert, err)
	}
	h.clock.forward(31*day + time.Minute)
	_, err = h.expired(renewed.Certificate, key)
	refusedFor(t, err, errorsv1.Reason_REASON_UNAUTHENTICATED, "more than 720h0m0s ago")
}

// Nobody else gets one: who has no key of a certificate, who stole one that was replaced since, who
// was revoked, and who shows a certificate of another CA or of somebody who renews otherwise.
func TestWhoCannotRenewWhatHasExpired(t *testing.T) {
	t.Parallel()
	h, key, next := build(t), newKey(t), newKey(t)
	bundle := h.agent("db-1", key)
	h.clock.forward(time.Hour)
	newer, err := h.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, bundle),
		Keys: ca.Keys{Agent: csr(t, next)}})
	if err != nil || newer.MariaDB != nil {
		t.Fatalf("a renewal without MariaDB: %v, %s", err, newer.MariaDB)
	}
	h.clock.forward(2 * day)
	const plain = errorsv1.Reason_REASON_UNAUTHENTICATED
	for _, shown := range [][]byte{bundle.Agent, newer.Agent} {
		_, err := h.expired(shown, newKey(t))
		refusedFor(t, err, plain, "no certificate on record")
		_, err = h.expired(shown, key)
		refusedFor(t, err, plain, "for another key was issued since")
	}
	theirs := identitytest.New(t)
	for name, shown := range map[string][]byte{
		"of another CA": encode(theirs.Certify(&next.PublicKey, identity.Agent("db-1"))),
		"of MariaDB":    bundle.MariaDB,
		"none":          []byte("x"),
	} {
		if _, err := h.expired(shown, next); errs.KindOf(err) != errs.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.expired(bundle.Agent, next); err != nil {
		t.Errorf("the newest key, with an older certificate: %v", err)
	}
	h.revoke(identity.Agent("db-1"))
	_, err = h.expired(newer.Agent, next)
	refusedFor(t, err, errorsv1.Reason_REASON_CERTIFICATE_REVOKED, "revoked")
}

func encode(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// An operator comes back after a weekend, on each computer, in the role and with the scope of now,
// and not after a holiday.
func TestAnExpiredOperatorRenewsByItsKey(t *testing.T) {
	t.Parallel()
	h := build(t)
	keys := []*ecdsa.PrivateKey{newKey(t), newKey(t)}
	var first [][]byte
	for _, key := range keys {
		bundle, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "ann",
			Role: identity.RoleViewer, CSR: csr(t, key), Servers: []string{"shop-*"},
			Caller: byRoot()})
		if err != nil {
			t.Fatal(err)
		}
		first = append(first, bundle.Certificate)
		h.clock.forward(time.Minute)
	}
	if err := h.update("ann", "web-*"); err != nil {
		t.Fatal(err)
	}
	h.clock.forward(365*day + 2*day)
	for i, key := range keys {
		renewed, err := h.expired(first[i], key)
		if err != nil {
			t.Fatal(err)
		}
		cert := parse(t, renewed.Certificate)
		who, err := identity.FromCertificate(cert)
		if err != nil || who != identity.Viewer("ann") || !identity.Scoped(cert) {
			t.Errorf("%s, %v: %v", who, cert.Subject, err)
		}
	}
	h.clock.forward(365*day + 3*day + time.Minute)
	_, err := h.expired(first[0], keys[0])
	refusedFor(t, err, errorsv1.Reason_REASON_UNAUTHENTICATED, "more than 72h0m0s ago")
}

// A certificate that a restore lost is renewed after its end too, and an older one of another key
// is not.
func TestAnExpiredCertificateThatARestoreLost(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	bundle := h.agent("db-1", key)
	backedUp := h.clock.Now()
	var known []inventory.Certificate
	h.inStore(func(ctx context.Context, tx *store.Tx) (err error) {
		known, err = tx.Certificates().Of(ctx, identity.Agent("db-1").String())
		return err
	})
	h.clock.forward(time.Hour)
	next := newKey(t)
	newer, err := h.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, bundle),
		Keys: ca.Keys{Agent: csr(t, next)}})
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Hour)
	h.store = h.newStore("restored.db")
	h.inStore(func(ctx context.Context, tx *store.Tx) error {
		if err := tx.Certificates().Insert(ctx, known[0]); err != nil {
			return err
		}
		return tx.Restored(ctx, backedUp)
	})
	h.registry = h.open()
	h.clock.forward(2 * day)
	if _, err := h.expired(newer.Agent, next); err != nil {
		t.Errorf("issued between backup and restore: %v", err)
	}
	if _, err := h.expired(bundle.Agent, key); err == nil {
		t.Error("an older key renews after a newer one did")
	}
}

func (h *house) inStore(do func(ctx context.Context, tx *store.Tx) error) {
	h.t.Helper()
	if err := h.store.Write(h.t.Context(), do); err != nil {
		h.t.Fatal(err)
	}
}

// short is the registry with the lives and graces of a control plane that sets none.
func (h *house) short() *ca.Registry {
	h.t.Helper()
	authority, err := ca.OpenAuthority(h.t.Context(), h.authority())
	if err != nil {
		h.t.Fatal(err)
	}
	registry, err := ca.New(h.t.Context(), ca.Config{Authority: authority,
		Store: ca.StoreOf(h.store, records), ControlPlane: []string{"10.0.0.1:7440"},
		Now: h.clock.Now, Logger: quiet()})
	if err != nil {
		h.t.Fatal(err)
	}
	return registry
}

// An admin whose certificate has expired overnight gets no lesser role beside it: the key would
// renew the admin's, once the lesser certificate has expired as well.
func TestARoleThatCanBeRenewedIsInTheWayOfAnother(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	h.registry = h.short()
	create := func(role identity.Role, key *ecdsa.PrivateKey) (ca.OperatorBundle, error) {
		return h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "ann", Role: role,
			CSR: csr(t, key), Caller: byRoot()})
	}
	admin, err := create(identity.RoleAdmin, key)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(9 * time.Hour)
	if _, err := create(identity.RoleViewer, newKey(t)); errs.KindOf(err) != errs.AlreadyExists {
		t.Errorf("a viewer beside an admin's certificate that can be renewed: %v", err)
	}
	h.revoke(identity.Identity{Role: identity.RoleAdmin, Name: "ann"})
	if _, err := create(identity.RoleViewer, newKey(t)); err != nil {
		t.Fatal(err)
	}
	h.clock.forward(9 * time.Hour)
	_, err = h.expired(admin.Certificate, key)
	refusedFor(t, err, errorsv1.Reason_REASON_CERTIFICATE_REVOKED, "revoked")

	away := build(t)
	away.registry = away.short()
	if _, err := away.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "ann",
		Role: identity.RoleAdmin, CSR: csr(t, key), Caller: byRoot()}); err != nil {
		t.Fatal(err)
	}
	away.clock.forward(8*time.Hour + 72*time.Hour + time.Minute)
	if _, err := away.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "ann",
		Role: identity.RoleViewer, CSR: csr(t, newKey(t)), Caller: byRoot()}); err != nil {
		t.Errorf("beside one that nobody can renew: %v", err)
	}
}
