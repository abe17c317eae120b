package ca_test

import (
	"context"
	"errors"
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

// tokenFor has an operator make a join token.
func (h *house) tokenFor(server string, replace bool) (string, error) {
	h.t.Helper()
	data, _, err := h.registry.CreateToken(h.t.Context(), ca.TokenRequest{Server: server,
		Replace: replace, Caller: ca.Caller{Peer: h.bob()}})
	if err != nil {
		return "", err
	}
	file, err := identity.ParseJoinFile(data)
	return file.Token, err
}

// joins has a machine of a new key join by an operator's token.
func (h *house) joins(server, token string) (ca.Bundle, ca.Keys) {
	h.t.Helper()
	mine := keys(h.t)
	bundle, err := h.enroll(token, server, mine)
	if err != nil {
		h.t.Fatal(err)
	}
	return bundle, mine
}

// A server has one agent: who has a token for one that lives is not a second one in silence.
func TestATokenForALivingServerReplacesItsAgent(t *testing.T) {
	t.Parallel()
	h := build(t)
	alarms := 0
	h.registry = h.open(func(c *ca.Config) { c.Alarm = func(string) { alarms++ } })
	token := func(replace bool) string {
		t.Helper()
		made, err := h.tokenFor("db-1", replace)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	first, second := token(false), token(false)
	old, _ := h.joins("db-1", first)
	_, err := h.enroll(second, "db-1", keys(t))
	h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID, "has got a")
	_, err = h.tokenFor("db-1", false)
	h.refuses(err, errs.FailedPrecondition, errorsv1.Reason_REASON_ALREADY_EXISTS, "db-1")
	if h.registry.Denied(peer(t, old).Serial()) {
		t.Error("a refusal revoked")
	}
	h.clock.forward(900 * time.Microsecond) // records have milliseconds
	third := token(true)
	if !h.registry.Denied(peer(t, old).Serial()) {
		t.Error("the old one goes on")
	}
	_, err = h.enroll(second, "db-1", keys(t))
	h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID, "before")
	mariadb := parse(t, old.MariaDB)
	next, mine := h.joins("db-1", third)
	if _, err := h.enroll(third, "db-1", mine); err != nil {
		t.Errorf("a lost answer: %v", err)
	}
	if h.registry.Denied(peer(t, next).Serial()) ||
		h.registry.Denied(identity.Serial(mariadb)) {
		t.Error("more than the old agent is revoked")
	}
	h.clock.forward(2 * day) // nobody lives
	h.joins("db-1", token(false))
	if alarms != 1 || len(h.refusals()) != 1 { // once a day
		t.Errorf("%d alarms, %q", alarms, h.refusals())
	}
}

// Jobs make a machine in place of another one.
func TestAJobsTokenReplacesWithoutAWord(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.agent("db-1", newKey(t))
	h.joins("db-1", h.joinFile("db-1").Token)
}

// A token that a thief has used is shown by its owner, and the other way round.
func TestATokenThatIsShownTwiceIsAnAlarm(t *testing.T) {
	t.Parallel()
	h := build(t)
	alarms := []string{}
	h.registry = h.open(func(c *ca.Config) {
		c.Alarm = func(action string) { alarms = append(alarms, action) }
	})
	token, err := h.tokenFor("db-1", false)
	if err != nil {
		t.Fatal(err)
	}
	h.joins("db-1", token)
	for range 3 { // once a day
		_, err = h.enroll(token, "db-1", keys(t))
		h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_USED, "another key")
		_, err = h.registry.CheckToken(t.Context(), token, "db-1", "192.0.2.9")
		h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_USED, "another key")
	}
	_, err = h.enroll(token, "db-2", keys(t))
	h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID, "db-2")
	_, err = h.enroll(strings.Repeat("A", 43), "db-1", keys(t)) // of nobody
	h.refuses(err, errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_INVALID, "unknown")
	got := h.refusals()
	if len(got) != 2 || len(alarms) != 2 || alarms[0] != "identity.refused" {
		t.Fatalf("%q, alarms %q", got, alarms)
	}
	for _, word := range []string{"servers/db-1: ", "operator/bob", "from 10.0.0.7"} {
		if !strings.Contains(got[0], word) || strings.Contains(got[0], token) {
			t.Errorf("%q lacks %q, or shows the token", got[0], word)
		}
	}
}

func TestATokenThatIsUsedFromElsewhereIsAnAlarm(t *testing.T) {
	t.Parallel()
	h := build(t)
	alarms := 0
	h.registry = h.open(func(c *ca.Config) { c.Alarm = func(string) { alarms++ } })
	for name, address := range map[string]string{"db-1": "10.0.0.66", "db-2": "10.0.0.7",
		"db-3": "", "db-4": "db-4.example"} {
		h.inStore(func(ctx context.Context, tx *store.Tx) error {
			return tx.Servers().Insert(ctx, &inventory.Server{Name: name, Address: address,
				State: inventory.ServerReady, Role: inventory.RolePrimary, Provider: "manual"})
		})
		h.joins(name, h.joinFile(name).Token) // from 10.0.0.7
	}
	got := h.messages("identity.address")
	if len(got) != 1 || alarms != 1 || !strings.Contains(got[0], "from 10.0.0.7") ||
		!strings.Contains(got[0], "at 10.0.0.66") {
		t.Errorf("%q, %d alarms", got, alarms)
	}
}

// Who has a stolen key fills no records with renewals.
func TestRenewalsOfALivingAgentAreBounded(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{day, time.Minute} {
		h := build(t)
		h.registry = h.open(func(c *ca.Config) { c.AgentLife = life })
		bundle := h.agent("db-1", newKey(t))
		renew := func() error {
			next, err := h.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, bundle),
				Keys: ca.Keys{Agent: csr(t, newKey(t))}})
			if err == nil {
				bundle = next
			}
			return err
		}
		for range 40 { // in its time
			if err := renew(); err != nil {
				t.Fatalf("twice in a life of %s: %v", life, err)
			}
			h.clock.forward(life / 2)
		}
		got, err := 0, error(nil)
		for err == nil && got < 100 {
			if err = renew(); err == nil {
				got++
			}
		}
		if got > 30 || !errors.Is(err, errs.ResourceExhausted) {
			t.Errorf("%d certificates at once: %v", got, err)
		}
	}
}
