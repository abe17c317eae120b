package ca_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Who is revoked before the first login is refused at it, whatever they are shown as, and nobody
// else is; once readmitted they get the name that every first login gives.
func TestAPersonIsRevokedBeforeTheFirstLogin(t *testing.T) {
	t.Parallel()
	h := build(t)
	subject := &inventory.Person{Issuer: alice.Issuer, Subject: alice.Subject}
	revoke := func(dry bool) ca.Revoked {
		t.Helper()
		revoked, err := h.registry.Revoke(t.Context(), ca.RevokeRequest{Person: subject,
			Reason: "never", ValidateOnly: dry, Caller: byRoot()})
		if err != nil {
			t.Fatal(err)
		}
		return revoked
	}
	readmit := func() (string, error) {
		return ca.NewLoggingIn(h.registry).Readmit(t.Context(), ca.ReadmitRequest{
			Person: subject, Caller: byRoot()})
	}
	if _, err := readmit(); !errors.Is(err, errs.NotFound) {
		t.Errorf("readmitted, and nobody revoked them: %v", err)
	}
	revoke(true)
	if _, err := readmit(); !errors.Is(err, errs.NotFound) {
		t.Errorf("a check has revoked: %v", err)
	}
	first := revoke(false)
	if again := revoke(false); again.Name != first.Name || len(again.Serials) > 0 {
		t.Errorf("a repeat: %v, first %v", again, first)
	}
	for _, shown := range []string{alice.Shown, "another@example.com"} {
		person := alice
		person.Shown = shown
		_, err := h.tryLogin(h.ask(person, identity.RoleAdmin, "*"))
		wantReason(t, shown, err, errorsv1.Reason_REASON_LOGIN_REVOKED)
	}
	h.login(h.ask(mallory, identity.RoleViewer, "*")) // of the same shown name

	if name, err := readmit(); err != nil || name != first.Name {
		t.Errorf("readmitted %s, %v, want %s", name, err, first.Name)
	}
	peer := h.login(h.ask(alice, identity.RoleViewer, "*"))
	if peer.Identity.Name != alice.Name() {
		t.Errorf("named %s, want %s", peer.Identity.Name, alice.Name())
	}
	// From the first login on it is the same as by the name.
	if revoked := revoke(false); revoked.Name != alice.Name() || len(revoked.Serials) != 1 ||
		h.good(peer) {
		t.Errorf("revoked after the first login: %v", revoked)
	}
	_, err := h.tryLogin(h.ask(alice, identity.RoleAdmin, "*"))
	wantReason(t, "afterwards", err, errorsv1.Reason_REASON_LOGIN_REVOKED)
	for _, action := range []string{"identity.revoke", "operator.login_refused",
		"operator.readmit"} {
		if !slices.ContainsFunc(h.events(), func(e inventory.Event) bool {
			return e.Action == action
		}) {
			t.Errorf("no event %s", action)
		}
	}
}

// A first login and a revocation by the subject at once: whoever is first, nobody is in afterwards.
func TestARevocationRacesAFirstLogin(t *testing.T) {
	t.Parallel()
	h := build(t)
	for i := range 20 {
		person := inventory.Person{Issuer: alice.Issuer, Subject: string(rune('a' + i)),
			Shown: alice.Shown}
		req := h.ask(person, identity.RoleViewer, "*")
		var both sync.WaitGroup
		var bundle ca.LoginBundle
		var failed error
		both.Go(func() { bundle, failed = h.tryLogin(req) })
		both.Go(func() {
			if _, err := h.registry.Revoke(t.Context(), ca.RevokeRequest{Person: &person,
				Reason: "never", Caller: byRoot()}); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if failed == nil && h.good(operatorPeer(t, bundle.OperatorBundle)) {
			t.Fatalf("%s is in", person.Subject)
		}
		_, err := h.tryLogin(h.ask(person, identity.RoleViewer, "*"))
		wantReason(t, "afterwards", err, errorsv1.Reason_REASON_LOGIN_REVOKED)
	}
}
