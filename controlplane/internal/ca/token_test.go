package ca_test

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// token is one for the server, made by that operator.
func (h *house) token(by identity.Peer, server string) (string, error) {
	h.t.Helper()
	data, _, err := h.registry.CreateToken(h.t.Context(), ca.TokenRequest{Server: server,
		Caller: ca.Caller{Peer: by}})
	if err != nil {
		return "", err
	}
	file, err := identity.ParseJoinFile(data)
	if err != nil {
		h.t.Fatal(err)
	}
	return file.Token, nil
}

// An operator lays tokens by, to let machines in after the revocation.
func TestTokensEndWithTheOperatorWhoMadeThem(t *testing.T) {
	t.Parallel()
	h := build(t)
	bob := h.operator(identity.Operator("bob"), newKey(t))
	ann := h.operator(identity.Operator("ann"), newKey(t))
	tokens := map[string]string{"db-4": h.joinFile("db-4").Token}
	for server, by := range map[string]identity.Peer{"db-1": bob, "db-2": bob, "db-3": ann} {
		var err error
		if tokens[server], err = h.token(by, server); err != nil {
			t.Fatal(err)
		}
	}
	used := keys(t)
	if _, err := h.enroll(tokens["db-1"], "db-1", used); err != nil {
		t.Fatal(err)
	}
	h.revoke(identity.Operator("bob"))
	if _, err := h.enroll(tokens["db-1"], "db-1", used); err != nil {
		t.Errorf("the answer to the machine that joined was lost, and it asks again: %v", err)
	}
	_, err := h.enroll(tokens["db-2"], "db-2", keys(t))
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_INVALID ||
		!strings.Contains(err.Error(), "revoked") {
		t.Errorf("a machine joins with the token of who was revoked: %v", err)
	}
	for _, server := range []string{"db-3", "db-4"} {
		if _, err := h.enroll(tokens[server], server, keys(t)); err != nil {
			t.Errorf("another one's token, for %s: %v", server, err)
		}
	}
	all, err := query.Tokens{Store: h.store}.List(t.Context(), nil)
	if err != nil || len(all) != len(tokens) {
		t.Fatalf("%v %v", all, err)
	}
	creators := map[string]inventory.JoinToken{}
	for _, token := range all {
		creators[token.Server] = token
	}
	for server, by := range map[string]identity.Identity{"db-1": bob.Identity,
		"db-2": bob.Identity, "db-3": ann.Identity, "db-4": identity.ControlPlane()} {
		if got := creators[server]; got.Creator != by.String() ||
			got.RevokedAt.IsZero() != (server != "db-2") {
			t.Errorf("%s: made by %s, revoked %s", server, got.Creator, got.RevokedAt)
		}
	}
}

// No token comes after a revocation: another control plane revoked bob, and this one has not read
// the deny list since.
func TestARevokedOperatorMakesNoToken(t *testing.T) {
	t.Parallel()
	h := build(t)
	bob := h.operator(identity.Operator("bob"), newKey(t))
	here := h.registry
	h.registry = h.open()
	h.revoke(identity.Operator("bob"))
	h.registry = here
	if _, err := h.token(bob, "db-1"); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("a revoked operator: %v", err)
	}
	ann := h.operator(identity.Operator("ann"), newKey(t))
	h.clock.forward(ann.Certificate.NotAfter.Sub(h.clock.Now()) + time.Second)
	if _, err := h.token(ann, "db-1"); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_UNAUTHENTICATED {
		t.Errorf("one whose certificate has expired: %v", err)
	}
}
