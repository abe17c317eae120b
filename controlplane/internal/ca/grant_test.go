package ca_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
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

// withServers has records of servers: db-1 and db-2 with an agent, db-new without one.
func (h *house) withServers() {
	h.t.Helper()
	if err := h.store.Write(h.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for name, agent := range map[string]string{"db-1": "a", "db-2": "a", "db-new": ""} {
			if err := tx.Servers().Insert(ctx, &inventory.Server{Name: name,
				State: inventory.ServerReady, AgentIdentity: agent}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) grant(by identity.Peer, server, operator string) (inventory.AgentGrant, error) {
	return ca.NewGranting(h.registry).Grant(h.t.Context(), ca.GrantRequest{Server: server,
		Operator: operator, Duration: time.Hour, Reason: "a test",
		Caller: ca.Caller{Peer: by}})
}

// granted are the grants on an agent that it is told of.
func (h *house) granted(server string) (told []string) {
	h.t.Helper()
	if err := h.registry.Refresh(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	list, err := ca.NewGranting(h.registry).List()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, g := range list.On(server).Grants {
		told = append(told, g.ID)
	}
	return told
}

// is says whether the one grant on the server is this one, or there is none when it is empty.
func (h *house) is(what, server, id string) {
	h.t.Helper()
	if got := h.granted(server); strings.Join(got, " ") != id {
		h.t.Errorf("%s: granted on %s: %v, want %q", what, server, got, id)
	}
}

func TestAGrantIsForTheKeyOfItsOperator(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.withServers()
	key := newKey(t)
	ann := h.operator(identity.Operator("ann"), key)
	made, err := h.grant(ann, "db-1", "")
	if err != nil {
		t.Fatal(err)
	}
	if made.Operator != ann.Identity.String() ||
		made.KeyPrint != identity.KeyPrint(ann.Certificate) || made.Creator != made.Operator {
		t.Errorf("made %+v", made)
	}
	h.is("at once", "db-1", made.ID)
	h.is("another server", "db-2", "")
	if again := h.operator(identity.Operator("ann"), key); identity.KeyPrint(again.Certificate) !=
		made.KeyPrint {
		t.Error("a renewed certificate is not meant by it")
	}
	h.clock.forward(time.Hour)
	h.is("after its time", "db-1", "")
}

// endings are what ends a grant before its time.
func endings() map[string]func(h *house, g inventory.AgentGrant) error {
	return map[string]func(h *house, g inventory.AgentGrant) error{
		"it is revoked": func(h *house, g inventory.AgentGrant) error {
			_, err := ca.NewGranting(h.registry).Revoke(h.t.Context(),
				ca.RevokeGrantRequest{ID: g.ID, Caller: byRoot()})
			return err
		},
		"its operator is revoked": func(h *house, _ inventory.AgentGrant) error {
			h.revoke(identity.Operator("ann"))
			return nil
		},
		"the agent is revoked": func(h *house, _ inventory.AgentGrant) error {
			if _, err := h.enroll(h.joinFile("db-1").Token, "db-1", keys(h.t)); err != nil {
				return err
			}
			h.revoke(identity.Agent("db-1"))
			return nil
		},
		"a backup is restored": func(h *house, _ inventory.AgentGrant) error {
			return h.store.Write(h.t.Context(), func(ctx context.Context, tx *store.Tx) error {
				return tx.Restored(ctx, h.clock.Now())
			})
		},
	}
}

func TestAGrantEndsBeforeItsTime(t *testing.T) {
	t.Parallel()
	for what, end := range endings() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := build(t)
			h.withServers()
			made, err := h.grant(h.operator(identity.Operator("ann"), newKey(t)), "db-1", "")
			if err != nil {
				t.Fatal(err)
			}
			h.is("before", "db-1", made.ID)
			before, err := ca.NewGranting(h.registry).List()
			if err != nil {
				t.Fatal(err)
			}
			if err := end(h, made); err != nil {
				t.Fatal(err)
			}
			h.is("after", "db-1", "")
			if after, err := ca.NewGranting(h.registry).List(); err != nil ||
				after.Sequence <= before.Sequence {
				t.Errorf("list %d after %d, which agents refuse: %v", after.Sequence,
					before.Sequence, err)
			}
		})
	}
}

func TestWhoGetsNoGrant(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.withServers()
	key := func() *ecdsa.PrivateKey { return newKey(t) }
	ann, ada := h.operator(identity.Operator("ann"), key()), h.operator(identity.Admin("ada"),
		key())
	bob := h.operator(identity.Operator("bob"), key())
	h.operator(identity.Viewer("vic"), key())
	some, err := h.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "some",
		Role: identity.RoleOperator, CSR: csr(t, newKey(t)), Servers: []string{"db-*"},
		Caller: byRoot()})
	if err != nil {
		t.Fatal(err)
	}
	gone := h.operator(identity.Operator("gone"), key())
	h.revoke(identity.Operator("gone"))
	for _, test := range []struct {
		what             string
		by               identity.Peer
		server, operator string
		kind             errs.Kind
		reason           errorsv1.Reason
	}{
		{"an operator for another one", ann, "db-1", "bob", errs.PermissionDenied,
			errorsv1.Reason_REASON_NOT_ALLOWED},
		{"of some servers", operatorPeer(t, some), "db-1", "", errs.PermissionDenied,
			errorsv1.Reason_REASON_NOT_ALLOWED},
		{"an admin for one of some servers", ada, "db-1", "some", errs.PermissionDenied,
			errorsv1.Reason_REASON_NOT_ALLOWED},
		{"an admin for a viewer", ada, "db-1", "vic", errs.FailedPrecondition,
			errorsv1.Reason_REASON_NOT_ALLOWED},
		{"an admin for nobody", ada, "db-1", "nobody", errs.FailedPrecondition,
			errorsv1.Reason_REASON_NOT_ALLOWED},
		{"one who was revoked", gone, "db-1", "", errs.Unauthenticated,
			errorsv1.Reason_REASON_CERTIFICATE_REVOKED},
		{"on no server", ann, "db-9", "", errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND},
		{"on a server without an agent", ann, "db-new", "", errs.FailedPrecondition,
			errorsv1.Reason_REASON_JOB_WRONG_STATE},
	} {
		if _, err := h.grant(test.by, test.server, test.operator); !errors.Is(err, test.kind) ||
			errs.ReasonOf(err) != test.reason || errs.HintOf(err).String() == "" {
			t.Errorf("%s: %v; hint %q", test.what, err, errs.HintOf(err))
		}
	}
	made, err := h.grant(ada, "db-1", "bob")
	if err != nil || made.KeyPrint != identity.KeyPrint(bob.Certificate) ||
		made.Operator != bob.Identity.String() || made.Creator != ada.Identity.String() {
		t.Errorf("an admin for an operator: %+v, %v", made, err)
	}
	for range 10 {
		if _, err := h.grant(ann, "db-1", ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.grant(ann, "db-1", ""); !errors.Is(err, errs.ResourceExhausted) {
		t.Errorf("one more than an operator may have: %v", err)
	}
	for i := range 39 {
		one := h.operator(identity.Operator(fmt.Sprintf("op%d", i)), newKey(t))
		if _, err := h.grant(one, "db-1", ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.grant(ada, "db-1", "bob"); !errors.Is(err, errs.ResourceExhausted) {
		t.Errorf("one more than agents are told: %v", err)
	}
	if _, err := h.grant(ann, "db-2", ""); err != nil {
		t.Errorf("on another agent: %v", err)
	}
}

// What is revoked while a clock that is ahead says that it is over stays so once it is set right.
func TestWhatIsOverCanBeRevoked(t *testing.T) {
	t.Parallel()
	for what, end := range endings() {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := build(t)
			h.withServers()
			made, err := h.grant(h.operator(identity.Operator("ann"), newKey(t)), "db-1", "")
			if err != nil {
				t.Fatal(err)
			}
			h.clock.forward(2 * time.Hour)
			if err := end(h, made); err != nil {
				t.Fatal(err)
			}
			h.clock.forward(-2 * time.Hour)
			h.is("the clock is right again", "db-1", "")
		})
	}
}

// A clock that is set back gives nobody more than was granted.
func TestAGrantIsNeverLongerThanItWasMade(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := inventory.AgentGrant{Created: now, Expires: now.Add(time.Hour)}
	for at, want := range map[time.Duration]time.Duration{0: time.Hour, -24 * time.Hour: time.Hour,
		50 * time.Minute: 10 * time.Minute, time.Hour: 0, 2 * time.Hour: 0} {
		if got := g.Left(now.Add(at)); got != want {
			t.Errorf("after %s: %s left, want %s", at, got, want)
		}
	}
	g.RevokedAt = now
	if got := g.Left(now); got != 0 {
		t.Errorf("revoked: %s left", got)
	}
}
