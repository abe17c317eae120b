package ca_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

var (
	alice = inventory.Person{Issuer: "https://id.example", Subject: "1",
		Shown: "alice@example.com"}
	// mallory shows the name of somebody else.
	mallory = inventory.Person{Issuer: "https://id.example", Subject: "2", Shown: alice.Shown}
)

// ask is a login with an ID token of its own.
func (h *house) ask(p inventory.Person, role identity.Role, servers ...string) ca.LoginRequest {
	h.t.Helper()
	h.tokens++
	now := h.clock.Now()
	return ca.LoginRequest{Person: p, Role: role, Servers: servers, Key: &newKey(h.t).PublicKey,
		Token: fmt.Sprintf("token %d", h.tokens), Issued: now, Expires: now.Add(time.Hour),
		Ends: now.Add(time.Hour),
		Caller: ca.Caller{Peer: identity.Peer{Identity: identity.Anonymous(),
			Address: "10.1.1.1:5"}}}
}

func (h *house) tryLogin(req ca.LoginRequest) (ca.LoginBundle, error) {
	return ca.NewLoggingIn(h.registry).Login(h.t.Context(), req)
}

func (h *house) login(req ca.LoginRequest) identity.Peer {
	h.t.Helper()
	bundle, err := h.tryLogin(req)
	if err != nil {
		h.t.Fatal(err)
	}
	peer := operatorPeer(h.t, bundle.OperatorBundle)
	if peer.Identity != bundle.Identity || peer.Identity.Role != req.Role {
		h.t.Fatalf("got %v, said %v, want %s", peer.Identity, bundle.Identity, req.Role)
	}
	return peer
}

// good says whether a certificate is let in.
func (h *house) good(peer identity.Peer) bool { return !h.registry.Denied(peer.Serial()) }

func wantReason(t *testing.T, what string, err error, want errorsv1.Reason) {
	t.Helper()
	if errs.ReasonOf(err) != want || errs.HintOf(err).String() == "" {
		t.Errorf("%s: %v, hint %q; want %s", what, err, errs.HintOf(err), want)
	}
}

// A certificate of a login ends with it at the latest, and nothing else renews it.
func TestALoginEnds(t *testing.T) {
	t.Parallel()
	h := build(t)
	req := h.ask(alice, identity.RoleOperator, "*")
	peer := h.login(req)
	if left := peer.Certificate.NotAfter.Sub(req.Ends); left > 0 || left < -time.Second {
		t.Errorf("it ends %s after the session", left)
	}
	_, err := h.registry.RenewOperator(t.Context(), peer, csr(t, newKey(t)), "r1")
	wantReason(t, "renewed", err, errorsv1.Reason_REASON_NOT_ALLOWED)
	h.clock.forward(2 * time.Hour)
	_, err = h.registry.RenewExpired(t.Context(), ca.ExpiredRequest{
		Certificate: encode(peer.Certificate), CSR: csr(t, newKey(t))})
	wantReason(t, "renewed after its end", err, errorsv1.Reason_REASON_NOT_ALLOWED)
	short := h.ask(alice, identity.RoleOperator, "*")
	short.Ends = h.clock.Now().Add(30 * time.Second)
	_, err = h.tryLogin(short)
	wantReason(t, "a session that is over", err, errorsv1.Reason_REASON_ID_TOKEN_REFUSED)
	endless := h.ask(alice, identity.RoleOperator, "*")
	endless.Ends = h.clock.Now().AddDate(50, 0, 0)
	if end := h.login(endless).Certificate.NotAfter; end.After(h.clock.Now().AddDate(1, 0, 1)) {
		t.Errorf("it ends on %s", end)
	}
}

// One ID token is one login, also after a restart, for another person or key.
func TestAnIDTokenIsUsedOnce(t *testing.T) {
	t.Parallel()
	h := build(t)
	req := h.ask(alice, identity.RoleOperator, "*")
	h.login(req)
	again := h.ask(alice, identity.RoleOperator, "*")
	again.Token = req.Token
	for range 2 {
		_, err := h.tryLogin(again)
		wantReason(t, "used again", err, errorsv1.Reason_REASON_ID_TOKEN_REFUSED)
		h.registry = h.open()
	}
	refused := h.ask(alice, identity.RoleOperator, "*")
	key := refused.Key
	refused.Key = nil
	_, err := h.tryLogin(refused)
	wantReason(t, "without a key", err, errorsv1.Reason_REASON_CSR_INVALID)
	refused.Key = key
	h.login(refused) // what was refused has used nothing
	h.clock.forward(48 * time.Hour)
	h.login(h.ask(alice, identity.RoleOperator, "*"))
}

// An ID token that may have been used after the backup is not used after the restore.
func TestAnIDTokenOfBeforeARestoreIsNotUsed(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.clock.forward(time.Minute)
	req := h.ask(alice, identity.RoleOperator, "*")
	h.clock.forward(time.Minute)
	err := h.store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Restored(ctx, h.clock.Now().Add(-time.Hour))
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.tryLogin(req)
	wantReason(t, "used", err, errorsv1.Reason_REASON_ID_TOKEN_REFUSED)
	h.clock.forward(time.Minute)
	h.login(h.ask(alice, identity.RoleOperator, "*"))
}

// Nobody becomes somebody else by the name that they are shown with: neither another person, nor an
// operator who was created.
func TestNobodyLogsInAsSomebodyElse(t *testing.T) {
	t.Parallel()
	h := build(t)
	created := h.operator(identity.Admin("alice"), newKey(t))
	first := h.login(h.ask(alice, identity.RoleOperator, "*"))
	for _, shown := range []string{"alice", "Alice", "operators/alice", first.Identity.Name,
		alice.Shown, "../alice", "alice\x00", "spiffe://understudy/admin/alice"} {
		thief := mallory
		thief.Shown = shown
		got := h.login(h.ask(thief, identity.RoleViewer, "*"))
		if got.Identity.Name == "alice" || got.Identity.Name == first.Identity.Name {
			t.Errorf("shown as %q, mallory is %v", shown, got.Identity)
		}
	}
	if !h.good(created) || !h.good(first) {
		t.Error("a login revoked somebody else's certificate")
	}
	// Another shown name is the same person.
	renamed := alice
	renamed.Shown = "bob@example.com"
	if again := h.login(h.ask(renamed, identity.RoleOperator, "*")); again.Identity !=
		first.Identity {
		t.Errorf("renamed: %v, was %v", again.Identity, first.Identity)
	}
	_, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{
		Name: first.Identity.Name, Role: identity.RoleAdmin, CSR: csr(t, newKey(t)),
		Caller: byRoot()})
	wantReason(t, "created", err, errorsv1.Reason_REASON_INVALID_FIELD)
	_, err = h.registry.SetScope(t.Context(), ca.ScopeRequest{Name: first.Identity.Name,
		Servers: []string{"shop-*"}, Caller: byRoot()})
	wantReason(t, "updated", err, errorsv1.Reason_REASON_INVALID_FIELD)
}

// A name that an older version let be created is nobody's who logs in.
func TestANameThatWasCreatedIsNotLoggedInTo(t *testing.T) {
	t.Parallel()
	h := build(t)
	err := h.store.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Certificates().Insert(ctx, inventory.Certificate{Serial: "1",
			Identity: identity.Admin(alice.Name()).String(), NotAfter: h.clock.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.tryLogin(h.ask(alice, identity.RoleViewer, "*"))
	if !errors.Is(err, errs.AlreadyExists) {
		t.Error(err)
	}
}

// A person who was revoked does not come back with another key, until an admin says so.
func TestARevokedPersonDoesNotLogIn(t *testing.T) {
	t.Parallel()
	h := build(t)
	peer := h.login(h.ask(alice, identity.RoleOperator, "*"))
	other := h.login(h.ask(mallory, identity.RoleOperator, "*"))
	h.revoke(identity.Operator(peer.Identity.Name))
	if h.good(peer) || !h.good(other) {
		t.Error("the wrong certificates are revoked")
	}
	renamed := alice
	renamed.Shown = "new@example.com"
	for _, role := range identity.Operators() {
		req := h.ask(renamed, role, "*")
		req.Believed = func(context.Context) error {
			t.Error("it takes room of the audit that is for who may log in")
			return nil
		}
		_, err := h.tryLogin(req)
		wantReason(t, "logged in", err, errorsv1.Reason_REASON_LOGIN_REVOKED)
	}
	readmit := func(name string, dry bool) error {
		_, err := ca.NewLoggingIn(h.registry).Readmit(t.Context(), ca.ReadmitRequest{Name: name,
			ValidateOnly: dry, Caller: byRoot()})
		return err
	}
	if err := readmit("nobody", false); !errors.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if err := readmit(peer.Identity.Name, true); err != nil {
		t.Error(err)
	}
	_, err := h.tryLogin(h.ask(alice, identity.RoleViewer, "*"))
	wantReason(t, "after a check", err, errorsv1.Reason_REASON_LOGIN_REVOKED)
	if err := readmit(peer.Identity.Name, false); err != nil {
		t.Error(err)
	}
	h.login(h.ask(alice, identity.RoleViewer, "*"))
	if h.good(peer) {
		t.Error("a certificate is good again")
	}
	want := []string{"operator.login", "operator.login", "identity.revoke",
		"operator.login_refused", "operator.readmit", "operator.login"}
	if got := h.actions(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// A person can be revoked long after the last login, when no certificate is on record any more.
func TestAPersonIsRevokedWithoutACertificate(t *testing.T) {
	t.Parallel()
	h := build(t)
	peer := h.login(h.ask(alice, identity.RoleOperator, "*"))
	h.clock.forward(100 * 24 * time.Hour)
	if _, err := h.store.Prune(t.Context(), store.Retention{Identities: time.Hour}); err != nil {
		t.Fatal(err)
	}
	h.revoke(identity.Operator(peer.Identity.Name))
	_, err := h.tryLogin(h.ask(alice, identity.RoleOperator, "*"))
	wantReason(t, "logged in", err, errorsv1.Reason_REASON_LOGIN_REVOKED)
}

// Each login counts for what the person has: nobody keeps a role, or servers, that their groups
// have lost.
func TestALoginSupersedes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		before, after   identity.Role
		servers, narrow string
		stays           bool
	}{
		{"the same", identity.RoleOperator, identity.RoleOperator, "*", "*", true},
		{"less", identity.RoleAdmin, identity.RoleViewer, "*", "*", false},
		{"more", identity.RoleViewer, identity.RoleAdmin, "*", "*", false},
		{"some servers", identity.RoleOperator, identity.RoleOperator, "*", "shop-*", false},
		{"all servers", identity.RoleOperator, identity.RoleOperator, "shop-*", "*", true},
		{"other servers", identity.RoleOperator, identity.RoleOperator, "shop-*", "web-*", true},
	}
	for _, test := range tests {
		h := build(t)
		first := h.login(h.ask(alice, test.before, test.servers))
		h.clock.forward(time.Minute)
		second := h.login(h.ask(alice, test.after, test.narrow))
		if h.good(first) != test.stays || !h.good(second) {
			t.Errorf("%s: the first is good: %v, the second: %v", test.name, h.good(first),
				h.good(second))
		}
		for _, peer := range []identity.Peer{first, second} {
			want := inventory.ScopeOf([]string{test.narrow})
			if got := h.registry.Scope(peer); !slices.Equal(got, want) {
				t.Errorf("%s: works with %v, want %v", test.name, got, want)
			}
		}
		if scoped := identity.Scoped(second.Certificate); scoped != (test.narrow != "*") {
			t.Errorf("%s: agents let it in: %v", test.name, !scoped)
		}
	}
}

// Two first logins at a time, with two shown names, are one person with one name: whom an admin
// revokes under it has no certificate under another one.
func TestTwoFirstLoginsAtATimeAreOnePerson(t *testing.T) {
	t.Parallel()
	h := build(t)
	late := h.ask(alice, identity.RoleOperator, "*")
	late.Person.Shown = "another@example.com"
	var first identity.Peer
	late.Believed = func(context.Context) error {
		late.Believed = nil
		first = h.login(h.ask(alice, identity.RoleOperator, "*"))
		return nil
	}
	_, err := h.tryLogin(late)
	wantReason(t, "the second", err, errorsv1.Reason_REASON_ETAG_MISMATCH)
	if _, again := errs.RetryOf(err); !again {
		t.Error("it is not to be tried again")
	}
	if second := h.login(late); second.Identity != first.Identity {
		t.Errorf("the person is %v and %v", first.Identity, second.Identity)
	}
}

// An ID token that was kept gives back nothing of what a later login took away.
func TestAnOlderIDTokenIsNotUsedAfterANewerOne(t *testing.T) {
	t.Parallel()
	h := build(t)
	kept, other := h.ask(alice, identity.RoleAdmin, "*"), h.ask(mallory, identity.RoleAdmin, "*")
	h.clock.forward(30 * time.Second)
	meanwhile := h.ask(alice, identity.RoleViewer, "*")
	h.clock.forward(2 * time.Minute)
	h.login(h.ask(alice, identity.RoleViewer, "*"))
	for _, req := range []ca.LoginRequest{kept, meanwhile} {
		_, err := h.tryLogin(req)
		wantReason(t, "one of before", err, errorsv1.Reason_REASON_ID_TOKEN_REFUSED)
	}
	h.login(other)
	soon := h.ask(alice, identity.RoleViewer, "*") // by a second command, which is slower
	h.clock.forward(30 * time.Second)
	h.login(h.ask(alice, identity.RoleViewer, "*"))
	h.login(soon)
}

// A join token of a role that the person lost ends with it, also when no certificate in the role
// was left that could be revoked.
func TestALoginEndsTokensOfAnotherRole(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{time.Minute, 2 * time.Hour} {
		h := build(t)
		first := h.login(h.ask(alice, identity.RoleOperator, "*"))
		h.withServers()
		data, _, err := h.registry.CreateToken(t.Context(), ca.TokenRequest{Server: "db-1",
			TTL: 24 * time.Hour, Caller: ca.Caller{Peer: first}})
		if err != nil {
			t.Fatal(err)
		}
		file, err := identity.ParseJoinFile(data)
		if err != nil {
			t.Fatal(err)
		}
		h.clock.forward(wait)
		h.login(h.ask(alice, identity.RoleViewer, "*"))
		_, err = h.enroll(file.Token, "db-1", keys(t))
		wantReason(t, "a viewer's join token after "+wait.String(), err,
			errorsv1.Reason_REASON_TOKEN_INVALID)
	}
}

// A person has 20 certificates a day, as others.
func TestLoginsAreLimited(t *testing.T) {
	t.Parallel()
	h := build(t)
	var err error
	for range 21 {
		h.clock.forward(time.Second)
		_, err = h.tryLogin(h.ask(alice, identity.RoleViewer, "*"))
	}
	wantReason(t, "the 21st", err, errorsv1.Reason_REASON_RATE_LIMITED)
	h.login(h.ask(mallory, identity.RoleViewer, "*"))
}

// actions are those of all events, the oldest first.
func (h *house) actions() (all []string) {
	h.t.Helper()
	for _, e := range h.events() {
		if strings.HasPrefix(e.Action, "operator.") || strings.HasPrefix(e.Action, "identity.") {
			all = append(all, e.Action)
		}
	}
	return all
}

// events are all, the oldest first.
func (h *house) events() (all []inventory.Event) {
	h.t.Helper()
	err := h.store.Read(h.t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		all, _, err = tx.Events().List(ctx, store.EventFilter{}, store.Page{Size: 1000})
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}
