package ca_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// tokenUnder asks for a join token under a request id.
func (h *house) tokenUnder(by identity.Peer, server, id string) (string, time.Time, error) {
	h.t.Helper()
	data, ends, err := h.registry.CreateToken(h.t.Context(), ca.TokenRequest{Server: server,
		RequestID: id, Caller: ca.Caller{Peer: by}})
	if err != nil {
		return "", ends, err
	}
	file, err := identity.ParseJoinFile(data)
	if err != nil {
		h.t.Fatal(err)
	}
	return file.Token, ends, nil
}

// Who knows the id of another's request gets nothing of it, and takes nothing away.
func TestARepeatOfAnothersRequestChangesNothing(t *testing.T) {
	t.Parallel()
	h := build(t)
	ann, bob := h.operator(identity.Operator("ann"), newKey(t)),
		h.operator(identity.Operator("bob"), newKey(t))
	token, _, err := h.tokenUnder(ann, "db-1", lostID)
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := h.tokenUnder(bob, "db-1", lostID)
	reused(t, "a token of somebody else", err)
	if _, err := h.enroll(token, "db-1", keys(t)); err != nil || secret != "" {
		t.Errorf("the first one's: %v; the other has %q", err, secret)
	}
}

// A caller who is revoked, or whose certificate expired, repeats nothing; the token is worthless.
func TestARepeatOfWhoIsRevoked(t *testing.T) {
	t.Parallel()
	h := build(t)
	ann := h.operator(identity.Operator("ann"), newKey(t))
	if _, _, err := h.tokenUnder(ann, "db-1", lostID); err != nil {
		t.Fatal(err)
	}
	h.revoke(identity.Operator("ann"))
	if secret, _, err := h.tokenUnder(ann, "db-1", lostID); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_CERTIFICATE_REVOKED || secret != "" {
		t.Errorf("%q, %v", secret, err)
	}
}

// A repeat does not make a token good for longer, again and again, nor once its time is over.
func TestARepeatExtendsNoToken(t *testing.T) {
	t.Parallel()
	h := build(t)
	ann := h.operator(identity.Operator("ann"), newKey(t))
	_, ends, err := h.tokenUnder(ann, "db-1", lostID)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.clock.forward(4 * time.Minute)
		if _, again, err := h.tokenUnder(ann, "db-1", lostID); err != nil || !again.Equal(ends) {
			t.Errorf("until %s, not %s: %v", again, ends, err)
		}
	}
	h.clock.forward(4 * time.Minute)
	if secret, _, err := h.tokenUnder(ann, "db-1", lostID); secret != "" ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_EXPIRED {
		t.Errorf("after its end: %q, %v", secret, err)
	}
	if made := len(h.messages("server.join-token")); made != 4 {
		t.Errorf("%d events of one token that was given another secret thrice", made)
	}
}

// The setting that a request left open may have changed when it is repeated, after a restart.
func TestARepeatAfterTheSettingChanged(t *testing.T) {
	t.Parallel()
	h := build(t)
	ann := h.operator(identity.Operator("ann"), newKey(t))
	_, ends, err := h.tokenUnder(ann, "db-1", lostID)
	if err != nil {
		t.Fatal(err)
	}
	h.registry = h.open(func(c *ca.Config) { c.TokenLife = time.Hour })
	if _, again, err := h.tokenUnder(ann, "db-1", lostID); err != nil || !again.Equal(ends) {
		t.Errorf("until %s, not %s: %v", again, ends, err)
	}
}

// An operator whose servers became fewer since is told those of now.
func TestARepeatTellsTheServersOfNow(t *testing.T) {
	t.Parallel()
	h := build(t)
	request := ca.OperatorRequest{Name: "ann", Role: identity.RoleOperator,
		Servers: []string{"db-*"}, RequestID: lostID, CSR: csr(t, newKey(t)), Caller: byRoot()}
	if _, err := h.registry.CreateOperator(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if err := h.update("ann", "db-1"); err != nil {
		t.Fatal(err)
	}
	again, err := h.registry.CreateOperator(t.Context(), request)
	if err != nil || !slices.Equal(again.Scope, []string{"db-1"}) {
		t.Errorf("told %s: %v", again.Scope, err)
	}
}

// What came through a NAT names no address: that of the NAT is no host's.
func TestACertificateNamesNoNAT(t *testing.T) {
	t.Parallel()
	h := build(t)
	for what, c := range map[string]struct {
		nat   string
		named int
	}{"nat": {"10.0.0.0/28", 0}, "another": {"10.0.9.0/28", 1}} {
		h.registry = h.open(func(config *ca.Config) {
			config.NAT = []netip.Prefix{netip.MustParsePrefix(c.nat)}
		})
		bundle, err := h.enroll(h.joinFile("db-"+what[:1]).Token, "db-"+what[:1], keys(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, pem := range [][]byte{bundle.Agent, bundle.MariaDB} {
			if got := parse(t, pem).IPAddresses; len(got) != c.named {
				t.Errorf("%s: %s", what, got)
			}
		}
	}
}
