package ca_test

import (
	"context"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// A key of an agent or of a MariaDB whose certificate was revoked is certified no more, for no
// server.
func TestARevokedKeyOfAServerIsNotCertifiedAgain(t *testing.T) {
	t.Parallel()
	h, agent, mariadb := build(t), newKey(t), newKey(t)
	if _, err := h.enroll(h.joinFile("db-1").Token, "db-1",
		ca.Keys{Agent: csr(t, agent), MariaDB: csr(t, mariadb)}); err != nil {
		t.Fatal(err)
	}
	other := h.agent("db-2", newKey(t))
	h.revoke(identity.Agent("db-1"))
	h.clock.forward(time.Minute)
	for name, keys := range map[string]ca.Keys{
		"the agent's": {Agent: csr(t, agent), MariaDB: csr(t, newKey(t))},
		"MariaDB's":   {Agent: csr(t, newKey(t)), MariaDB: csr(t, mariadb)},
	} {
		_, err := h.enroll(h.joinFile("db-1").Token, "db-1", keys)
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
			t.Errorf("%s, by a token: %v", name, err)
		}
		_, err = h.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, other), Keys: keys})
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
			t.Errorf("%s, by a renewal of another server: %v", name, err)
		}
	}
}

// A certificate that a restore lost does not outlive the revocation of its agent.
func TestWhatARestoreLostIsRevokedWithTheRest(t *testing.T) {
	t.Parallel()
	h, old, key := build(t), newKey(t), newKey(t)
	backedUp := h.clock.Now().Add(2 * time.Minute)
	h.clock.forward(3 * time.Minute)
	bundle := h.agent("db-1", key)
	h.store = h.newStore("restored.db")
	h.registry = h.open()
	h.clock.forward(-3 * time.Minute)
	h.agent("db-1", old) // which the backup has
	h.clock.forward(time.Minute)
	h.inStore(func(ctx context.Context, tx *store.Tx) error { return tx.Restored(ctx, backedUp) })
	h.registry = h.open()
	h.clock.forward(time.Minute)
	renew := func() error {
		_, err := h.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, bundle),
			Keys: keys(t)})
		return err
	}
	h.revoke(identity.Agent("db-1")) // by a clock that is behind that of the host before
	if err := renew(); errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("revoked since, and renewed: %v", err)
	}
	h.clock.forward(5 * day)
	_, err := h.expired(bundle.Agent, key)
	refusedFor(t, err, errorsv1.Reason_REASON_UNAUTHENTICATED, "no certificate on record")
}

// A clock that was ahead makes no old key the newest.
func TestTheNewestKeyIsTheLastOnRecord(t *testing.T) {
	t.Parallel()
	h, stolen, next := build(t), newKey(t), newKey(t)
	h.clock.forward(50 * time.Minute)
	bundle := h.agent("db-1", stolen)
	h.clock.forward(-50 * time.Minute)
	newer, err := h.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, bundle),
		Keys: ca.Keys{Agent: csr(t, next)}})
	if err != nil {
		t.Fatal(err)
	}
	if cert := parse(t, newer.Agent); h.clock.Now().Before(cert.NotBefore) {
		t.Errorf("good from %s on", cert.NotBefore)
	}
	h.clock.forward(2 * day)
	if _, err := h.expired(newer.Agent, next); err != nil {
		t.Errorf("the agent: %v", err)
	}
	_, err = h.expired(bundle.Agent, stolen)
	refusedFor(t, err, errorsv1.Reason_REASON_UNAUTHENTICATED, "another key was issued since")
}

// Who has an agent's key fills no records by RenewExpired: nothing while the certificate is good,
// and a number in an hour after.
func TestRenewalsOfAgentsThatHaveExpiredAreBounded(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	bundle := h.agent("db-1", key)
	h.clock.forward(time.Hour)
	_, err := h.expired(bundle.Agent, key)
	refusedFor(t, err, errorsv1.Reason_REASON_UNAUTHENTICATED, "has not expired")
	h.clock.forward(day)
	got := 0
	for range 40 {
		h.clock.forward(time.Second)
		if _, err = h.expired(bundle.Agent, key); err == nil {
			got++
		}
	}
	if got > 30 || errs.KindOf(err) != errs.ResourceExhausted || errs.HintOf(err).Empty() {
		t.Errorf("%d certificates: %v; %s", got, err, errs.HintOf(err))
	}
	h.clock.forward(time.Hour)
	if _, err := h.expired(bundle.Agent, key); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}
