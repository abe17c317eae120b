package ca_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	lostID  = "6f1c2a34-0b5d-4c8e-9a51-3f4f7d1f8a10"
	otherID = "6f1c2a34-0b5d-4c8e-9a51-3f4f7d1f8a11"
)

// reused fails unless another request under the same id is refused.
func reused(t *testing.T, what string, err error) {
	t.Helper()
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_REQUEST_REUSED {
		t.Errorf("%s under a used request id: %v", what, err)
	}
}

// The answer to a request for a grant is lost, and it is asked for again.
func TestARepeatMakesNoSecondGrant(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.withServers()
	ann, bob := h.operator(identity.Operator("ann"), newKey(t)),
		h.operator(identity.Operator("bob"), newKey(t))
	granting := ca.NewGranting(h.registry)
	request := ca.GrantRequest{Server: "db-1", Duration: time.Hour, Reason: "a test",
		RequestID: lostID, Caller: ca.Caller{Peer: ann}}
	made, err := granting.Grant(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Minute)
	again, err := granting.Grant(t.Context(), request)
	if err != nil || again.ID != made.ID || !again.Expires.Equal(made.Expires) {
		t.Errorf("again: %+v, %v, want %+v", again, err, made)
	}
	h.is("after a repeat", "db-1", made.ID)
	for what, change := range map[string]func(*ca.GrantRequest){
		"another server":   func(r *ca.GrantRequest) { r.Server = "db-2" },
		"a longer time":    func(r *ca.GrantRequest) { r.Duration = 2 * time.Hour },
		"another reason":   func(r *ca.GrantRequest) { r.Reason = "another" },
		"another operator": func(r *ca.GrantRequest) { r.Operator = "bob" },
		"another caller":   func(r *ca.GrantRequest) { r.Caller.Peer = bob },
	} {
		changed := request
		change(&changed)
		_, err := granting.Grant(t.Context(), changed)
		reused(t, what, err)
	}
	end := ca.RevokeGrantRequest{ID: made.ID, RequestID: otherID, Caller: ca.Caller{Peer: ann}}
	for range 2 {
		if _, err := granting.Revoke(t.Context(), end); err != nil {
			t.Error(err)
		}
	}
	if again, err = granting.Grant(t.Context(), request); err != nil || again.RevokedAt.IsZero() {
		t.Errorf("a repeat after its end: %+v, %v", again, err)
	}
	h.is("a repeat after its end", "db-1", "")
	request.RequestID = ""
	second, err := granting.Grant(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	end.ID = second.ID
	_, err = granting.Revoke(t.Context(), end)
	reused(t, "the end of another grant", err)
	h.is("a refused end", "db-1", second.ID)
}

// The answer with a join token is lost: the token of the repeat is the one that is good.
func TestARepeatMakesNoSecondToken(t *testing.T) {
	t.Parallel()
	h := build(t)
	ann := h.operator(identity.Operator("ann"), newKey(t))
	ask := func(id, server string) (identity.JoinFile, time.Time, error) {
		data, ends, err := h.registry.CreateToken(t.Context(), ca.TokenRequest{Server: server,
			RequestID: id, Caller: ca.Caller{Peer: ann}})
		if err != nil {
			return identity.JoinFile{}, ends, err
		}
		file, err := identity.ParseJoinFile(data)
		return file, ends, err
	}
	lost, ends, err := ask(lostID, "db-1")
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Minute)
	again, endsAgain, err := ask(lostID, "db-1")
	if err != nil || !endsAgain.Equal(ends) || len(h.joinTokens()) != 1 {
		t.Fatalf("again: until %s, not %s, %d tokens: %v", endsAgain, ends, len(h.joinTokens()),
			err)
	}
	_, _, err = ask(lostID, "db-2")
	reused(t, "a token for another server", err)
	_, err = h.enroll(lost.Token, "db-1", keys(t))
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_INVALID {
		t.Errorf("the secret that was lost is good: %v", err)
	}
	if _, err := h.enroll(again.Token, "db-1", keys(t)); err != nil {
		t.Error(err)
	}
	if _, _, err := ask(lostID, "db-1"); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_TOKEN_USED {
		t.Errorf("a repeat after its use: %v", err)
	}
	if _, _, err := ask(otherID, "db-3"); err != nil || len(h.joinTokens()) != 2 {
		t.Errorf("under another id: %d tokens, %v", len(h.joinTokens()), err)
	}
}

// A machine is named twice under one id, before it joins and after.
func TestARepeatNamesAMachineOnce(t *testing.T) {
	t.Parallel()
	h, _ := attesting(t)
	bob := h.bob()
	ask := func() error {
		_, _, err := h.registry.CreateToken(t.Context(), ca.TokenRequest{Server: "db-1",
			Machine: machine1, RequestID: lostID, Caller: ca.Caller{Peer: bob}})
		return err
	}
	for range 2 {
		if err := ask(); err != nil || len(h.joinTokens()) != 1 {
			t.Fatalf("%d tokens: %v", len(h.joinTokens()), err)
		}
	}
	if err := h.attested("db-1", "first", keys(t)); err != nil {
		t.Fatal(err)
	}
	h.refuses(ask(), errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_USED, "used")
}

// The answer with an operator's certificate is lost, and asked for again for the same key.
func TestARepeatIssuesNoSecondCertificate(t *testing.T) {
	t.Parallel()
	h, key := build(t), newKey(t)
	request := ca.OperatorRequest{Name: "ann", Role: identity.RoleOperator,
		Servers: []string{"db-*"}, RequestID: lostID, CSR: csr(t, key), Caller: byRoot()}
	made, err := h.registry.CreateOperator(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Minute)
	request.CSR = csr(t, key) // which is signed again, for the same key
	again, err := h.registry.CreateOperator(t.Context(), request)
	if err != nil || !bytes.Equal(again.Certificate, made.Certificate) ||
		!again.Expires.Equal(made.Expires) || !slices.Equal(again.Scope, made.Scope) {
		t.Errorf("again: until %s for %s, not %s for %s, or another certificate: %v", again.Expires,
			again.Scope, made.Expires, made.Scope, err)
	}
	for what, change := range map[string]func(*ca.OperatorRequest){
		"another key":   func(r *ca.OperatorRequest) { r.CSR = csr(t, newKey(t)) },
		"another name":  func(r *ca.OperatorRequest) { r.Name = "bob" },
		"other servers": func(r *ca.OperatorRequest) { r.Servers = []string{"shop-*"} },
	} {
		changed := request
		change(&changed)
		_, err := h.registry.CreateOperator(t.Context(), changed)
		reused(t, what, err)
	}
	h.revoke(identity.Operator("ann"))
	if _, err := h.registry.CreateOperator(t.Context(), request); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("a repeat after the revocation: %v", err)
	}
}

// A client sends its request again while the first one is under way.
func TestTwoRequestsAtOnceMakeOne(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.withServers()
	ann := h.operator(identity.Operator("ann"), newKey(t))
	var ids [4]string
	var wait sync.WaitGroup
	for i := range ids {
		wait.Go(func() {
			made, err := ca.NewGranting(h.registry).Grant(t.Context(), ca.GrantRequest{
				Server: "db-1", Duration: time.Hour, Reason: "a test", RequestID: lostID,
				Caller: ca.Caller{Peer: ann}})
			if err != nil {
				t.Error(err)
			}
			ids[i] = made.ID
			_, _, err = h.registry.CreateToken(t.Context(), ca.TokenRequest{Server: "db-1",
				RequestID: otherID, Caller: ca.Caller{Peer: ann}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if len(slices.Compact(ids[:])) != 1 {
		t.Errorf("made %q", ids)
	}
	h.is("all at once", "db-1", ids[0])
	if tokens := h.joinTokens(); len(tokens) != 1 {
		t.Errorf("%d tokens", len(tokens))
	}
}
