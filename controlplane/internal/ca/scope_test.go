package ca_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// operatorFor creates an operator for these servers, by root.
func (h *house) operatorFor(who identity.Identity, servers ...string) (identity.Peer, error) {
	h.t.Helper()
	bundle, err := h.registry.CreateOperator(h.t.Context(), ca.OperatorRequest{Name: who.Name,
		Role: who.Role, CSR: csr(h.t, newKey(h.t)), Servers: servers, Caller: byRoot()})
	if err != nil {
		return identity.Peer{}, err
	}
	return operatorPeer(h.t, bundle), nil
}

func (h *house) update(name string, servers ...string) error {
	h.t.Helper()
	_, err := h.registry.SetScope(h.t.Context(), ca.ScopeRequest{Name: name, Servers: servers,
		Caller: byRoot()})
	return err
}

// worksWith says which of some servers the operator works with.
func (h *house) worksWith(peer identity.Peer) (names []string) {
	scope := h.registry.Scope(peer)
	for _, name := range []string{"shop-1", "web-1"} {
		if scope.Has(name) {
			names = append(names, name)
		}
	}
	return names
}

func TestAScopeIsTheNamesUntilItIsChanged(t *testing.T) {
	t.Parallel()
	h := build(t)
	bob := identity.Operator("bob")
	peer, err := h.operatorFor(bob, "shop-*")
	if err != nil {
		t.Fatal(err)
	}
	with := func(what string, want ...string) {
		t.Helper()
		if got := h.worksWith(peer); !slices.Equal(got, want) {
			t.Errorf("%s: works with %v, want %v", what, got, want)
		}
		if !identity.Scoped(peer.Certificate) {
			t.Errorf("%s: the certificate is one for all servers", what)
		}
	}
	with("created", "shop-1")
	if peer, err = h.operatorFor(bob); err != nil { // another laptop
		t.Fatal(err)
	}
	with("created again", "shop-1")
	renewed, err := h.registry.RenewOperator(t.Context(), peer, csr(t, newKey(t)), "r1")
	if err != nil {
		t.Fatal(err)
	}
	peer = operatorPeer(t, renewed)
	with("renewed", "shop-1")
	if err := h.update("bob", "web-*"); err != nil {
		t.Fatal(err)
	}
	with("changed", "web-1")
	h.registry = h.open()
	with("after a restart", "web-1")
	h.revoke(bob)
	if peer, err = h.operatorFor(identity.Viewer("bob")); err != nil {
		t.Fatal(err)
	}
	with("in another role", "web-1")
	if err := h.update("bob", "*"); err != nil {
		t.Fatal(err)
	}
	with("for all", "shop-1", "web-1")
	h.store = h.newStore("another.db") // whose records lack what the certificate is for
	h.registry = h.open()
	with("without a record")
}

// Agents let everybody in whose certificate is one for all servers.
func TestWhoHasACertificateForAllServersGetsNoScope(t *testing.T) {
	t.Parallel()
	h := build(t)
	bob := h.operator(identity.Operator("bob"), newKey(t))
	if err := h.update("bob", "shop-*"); !errors.Is(err, errs.AlreadyExists) {
		t.Errorf("changed: %v", err)
	}
	if _, err := h.operatorFor(bob.Identity, "shop-*"); !errors.Is(err, errs.AlreadyExists) {
		t.Errorf("created: %v", err)
	}
	if got := h.worksWith(bob); len(got) != 2 {
		t.Errorf("works with %v", got)
	}
	h.revoke(bob.Identity)
	if peer, err := h.operatorFor(bob.Identity, "shop-*"); err != nil ||
		len(h.worksWith(peer)) != 1 {
		t.Errorf("%v", err)
	}
}

func TestAnAdminHasNoScope(t *testing.T) {
	t.Parallel()
	h := build(t)
	ada := h.operator(identity.Admin("ada"), newKey(t))
	if _, err := h.operatorFor(identity.Admin("bea"), "shop-*"); !errors.Is(err,
		errs.InvalidArgument) {
		t.Errorf("created: %v", err)
	}
	if err := h.update("ada", "shop-*"); !errors.Is(err, errs.InvalidArgument) {
		t.Errorf("changed: %v", err)
	}
	if err := h.update("nobody", "shop-*"); !errors.Is(err, errs.NotFound) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := h.operatorFor(identity.Operator("bob"), "shop-*"); err != nil {
		t.Fatal(err)
	}
	h.revoke(identity.Operator("bob"))
	if _, err := h.operatorFor(identity.Admin("bob")); !errors.Is(err, errs.InvalidArgument) {
		t.Errorf("promoted with the scope of before: %v", err)
	}
	if _, err := h.operatorFor(identity.Admin("bob"), "*"); err != nil {
		t.Error(err)
	}
	if len(h.worksWith(ada)) != 2 || len(h.worksWith(byRoot().Peer)) != 2 {
		t.Error("an admin and root work with all servers")
	}
}

// A restore lost which servers an operator works with: the next certificate would be for all.
func TestACertificateForSomeServersRenewsAsNoOther(t *testing.T) {
	t.Parallel()
	h := build(t)
	backedUp := h.clock.Now()
	h.clock.forward(time.Minute)
	bob, err := h.operatorFor(identity.Operator("bob"), "shop-*")
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Minute)
	h.store = h.newStore("restored.db")
	if err := h.store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Restored(ctx, backedUp)
	}); err != nil {
		t.Fatal(err)
	}
	h.registry = h.open()
	renew := func() (ca.OperatorBundle, error) {
		return h.registry.RenewOperator(t.Context(), bob, csr(t, newKey(t)), "r1")
	}
	if _, err := renew(); !errors.Is(err, errs.FailedPrecondition) {
		t.Errorf("renewed: %v", err)
	}
	if _, err := h.operatorFor(bob.Identity, "shop-*"); err != nil {
		t.Fatal(err)
	}
	if again, err := renew(); err != nil || !identity.Scoped(parse(t, again.Certificate)) {
		t.Errorf("renewed once the scope is on record: %v", err)
	}
}

// A token is laid by until its server has the data of one outside.
func TestATokenEndsWhereTheScopeOfItsMakerDoes(t *testing.T) {
	t.Parallel()
	h := build(t)
	bob, err := h.operatorFor(identity.Operator("bob"), "shop-*")
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{}
	for _, server := range []string{"shop-1", "shop-2", "shop-3"} {
		if tokens[server], err = h.token(bob, server); err != nil {
			t.Fatal(err)
		}
	}
	err = h.store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for server, primary := range map[string]string{"shop-1": "db1", "shop-2": "shop-9"} {
			if err := tx.Servers().Insert(ctx, &inventory.Server{Name: server, Primary: primary,
				Role: inventory.RoleReplica}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	enrols := func(server string) error {
		_, err := h.enroll(tokens[server], server, keys(t))
		return err
	}
	if err := enrols("shop-1"); errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_INVALID {
		t.Errorf("a replica of a primary outside: %v", err)
	}
	if err := enrols("shop-2"); err != nil {
		t.Errorf("a replica of a primary inside: %v", err)
	}
	if err := h.update("bob", "web-*"); err != nil {
		t.Fatal(err)
	}
	if err := enrols("shop-3"); errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_INVALID {
		t.Errorf("a server that is not in scope any more: %v", err)
	}
}
