package ca_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestEnrolIssuesWhatTheTokenSaysAndNothingElse(t *testing.T) {
	t.Parallel()
	h := build(t)
	file := h.joinFile("db-1")
	bundle, err := h.enroll(file.Token, "db-1", keys(t))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := file.Roots()
	if err != nil {
		t.Fatal(err)
	}
	agent, mariadb := parse(t, bundle.Agent), parse(t, bundle.MariaDB)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth,
		x509.ExtKeyUsageServerAuth} {
		if _, err := agent.Verify(x509.VerifyOptions{Roots: roots, DNSName: "db-1",
			KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("agent, usage %v: %v", usage, err)
		}
	}
	if id, err := identity.FromCertificate(agent); err != nil || id != identity.Agent("db-1") {
		t.Errorf("agent: %v %v", id, err)
	}
	server := x509.VerifyOptions{Roots: roots, DNSName: "10.0.0.7",
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if _, err := mariadb.Verify(server); err != nil {
		t.Error(err)
	}
	client := x509.VerifyOptions{Roots: roots,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := mariadb.Verify(client); err != nil {
		t.Errorf("MariaDB cannot sign in to another one: %v", err)
	}
	if id, err := identity.FromCertificate(mariadb); err == nil {
		t.Errorf("MariaDB's certificate says that it is %v", id)
	}
	for _, cert := range []*x509.Certificate{agent, mariadb} {
		if cert.IsCA || len(cert.DNSNames) != 1 || len(cert.IPAddresses) != 1 ||
			len(cert.Subject.Organization) != 0 || cert.Subject.CommonName != "db-1" {
			t.Errorf("took something from the request: %v %v %v", cert.Subject, cert.DNSNames,
				cert.IPAddresses)
		}
	}
	if len(h.enrolled) != 1 || h.enrolled[0] != "db-1" {
		t.Errorf("told of %v", h.enrolled)
	}
}

func TestALostAnswerCostsNothing(t *testing.T) {
	t.Parallel()
	h := build(t)
	file, mine := h.joinFile("db-1"), keys(t)
	seen := map[string]bool{}
	for range 3 {
		bundle, err := h.enroll(file.Token, "db-1", mine)
		if err != nil {
			t.Fatal(err)
		}
		seen[identity.Serial(parse(t, bundle.Agent))] = true
		h.clock.forward(time.Minute)
		h.registry = h.open()
	}
	if len(seen) != 3 {
		t.Errorf("%d serials", len(seen))
	}
	h.clock.forward(15 * time.Minute)
	if _, err := h.enroll(file.Token, "db-1",
		mine); errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_EXPIRED {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	h := build(t)
	token := h.joinFile("db-1").Token
	good := keys(t)
	if _, err := h.enroll(token, "db-1", good); err != nil {
		t.Fatal(err)
	}
	broken := append([]byte{}, good.Agent...)
	broken[len(broken)-1] ^= 1
	used, unused := token, h.joinFile("db-2").Token
	tests := []struct {
		name, token, server string
		keys                ca.Keys
		kind                error
		reason              errorsv1.Reason
	}{
		{"another key", used, "db-1", keys(t), errs.PermissionDenied,
			errorsv1.Reason_REASON_TOKEN_USED},
		{"another server", unused, "db-1", good, errs.PermissionDenied,
			errorsv1.Reason_REASON_TOKEN_INVALID},
		{"malformed token", "x", "db-2", good, errs.PermissionDenied,
			errorsv1.Reason_REASON_TOKEN_INVALID},
		{"unknown token", strings.Repeat("A", 43), "db-2", good, errs.PermissionDenied,
			errorsv1.Reason_REASON_TOKEN_INVALID},
		{"no token", "", "db-2", good, errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD},
		{"bad server", unused, "../db", good, errs.InvalidArgument,
			errorsv1.Reason_REASON_INVALID_FIELD},
		{"no request", unused, "db-2", ca.Keys{MariaDB: good.MariaDB}, errs.InvalidArgument,
			errorsv1.Reason_REASON_CSR_INVALID},
		{"one key for both", unused, "db-2", ca.Keys{Agent: good.Agent, MariaDB: good.Agent},
			errs.InvalidArgument, errorsv1.Reason_REASON_CSR_INVALID},
		{"request not signed by its key", unused, "db-2",
			ca.Keys{Agent: broken, MariaDB: good.MariaDB}, errs.InvalidArgument,
			errorsv1.Reason_REASON_CSR_INVALID},
		{"another kind of key", unused, "db-2", ca.Keys{Agent: good.Agent, MariaDB: rsaCSR(t)},
			errs.InvalidArgument, errorsv1.Reason_REASON_CSR_INVALID},
		{"huge", unused, "db-2", ca.Keys{Agent: make([]byte, 1<<20), MariaDB: good.MariaDB},
			errs.InvalidArgument, errorsv1.Reason_REASON_CSR_INVALID},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := h.enroll(test.token, test.server, test.keys)
			if !errors.Is(err, test.kind) || errs.ReasonOf(err) != test.reason {
				t.Errorf("%v: %v", err, errs.ReasonOf(err))
			}
			if errs.HintOf(err).String() == "" && len(errs.FieldsOf(err)) == 0 {
				t.Errorf("%v: no hint", err)
			}
			if test.token != "" && len(test.token) > 1 &&
				strings.Contains(fmt.Sprint(err, errs.MetaOf(err)), test.token) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
	if _, err := h.enroll(unused, "db-2", good); err != nil {
		t.Errorf("a refused try spent the token: %v", err)
	}
}

func TestManyKeysOneToken(t *testing.T) {
	t.Parallel()
	h := build(t)
	token := h.joinFile("db-1").Token
	var wait sync.WaitGroup
	won := make(chan struct{}, 8)
	for range 8 {
		k := keys(t)
		wait.Go(func() {
			_, err := h.registry.Enroll(t.Context(), ca.EnrollRequest{Token: token, Server: "db-1",
				Keys: k})
			if err == nil {
				won <- struct{}{}
				return
			}
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_USED {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if len(won) != 1 {
		t.Errorf("%d keys got certificates for one token", len(won))
	}
}

func TestTokenRequests(t *testing.T) {
	t.Parallel()
	h := build(t)
	tests := []struct {
		name string
		req  ca.TokenRequest
		bad  string
	}{
		{"usual", ca.TokenRequest{Server: "db-1"}, ""},
		{"a day", ca.TokenRequest{Server: "db-1", TTL: 24 * time.Hour}, ""},
		{"too long", ca.TokenRequest{Server: "db-1", TTL: 25 * time.Hour}, "ttl"},
		{"too short", ca.TokenRequest{Server: "db-1", TTL: time.Second}, "ttl"},
		{"negative", ca.TokenRequest{Server: "db-1", TTL: -time.Hour}, "ttl"},
		{"no server", ca.TokenRequest{}, "server"},
		{"bad server", ca.TokenRequest{Server: "DB 1"}, "server"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file, expires, err := h.registry.CreateToken(t.Context(), test.req)
			if test.bad != "" {
				if fields := errs.FieldsOf(err); len(fields) != 1 || fields[0].Field != test.bad {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || len(file) == 0 || !expires.After(h.clock.Now()) {
				t.Errorf("%v %v", expires, err)
			}
		})
	}
	if file, _, err := h.registry.CreateToken(t.Context(),
		ca.TokenRequest{Server: "db-1", ValidateOnly: true}); err != nil || file != nil {
		t.Errorf("validate only: %v %v", file, err)
	}
}

func TestOnlyTheHashIsKept(t *testing.T) {
	t.Parallel()
	h := build(t)
	token := h.joinFile("db-1").Token
	if strings.Contains(string(h.read("understudy.db"))+string(h.read("understudy.db-wal")),
		token) {
		t.Error("the token is in the store's files")
	}
}

func peer(t *testing.T, bundle ca.Bundle) identity.Peer {
	t.Helper()
	cert := parse(t, bundle.Agent)
	id, err := identity.FromCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Peer{Identity: id, Certificate: cert, Address: "10.0.0.8:4711"}
}

func TestRenewAndRevoke(t *testing.T) {
	t.Parallel()
	h := build(t)
	mine, token := keys(t), h.joinFile("db-1").Token
	bundle, err := h.enroll(token, "db-1", mine)
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(10 * time.Minute)
	renewed, err := h.registry.Renew(t.Context(),
		ca.RenewRequest{Peer: peer(t, bundle), Keys: mine})
	if err != nil {
		t.Fatal(err)
	}
	if !renewed.Expires.After(bundle.Expires) ||
		parse(t, renewed.MariaDB).VerifyHostname("10.0.0.8") != nil {
		t.Errorf("renewed until %v, before %v", renewed.Expires, bundle.Expires)
	}
	unusedBefore := h.joinFile("db-1").Token
	h.clock.forward(time.Second)
	revoke := ca.RevokeRequest{Who: identity.Agent("db-1"), Reason: "stolen",
		Caller: byRoot()}
	for _, want := range []int{4, 4, 0} {
		revoke.ValidateOnly = want == 4 && !h.registry.Denied(peer(t, bundle).Serial()) &&
			!revoke.ValidateOnly
		revoked, err := h.registry.Revoke(t.Context(), revoke)
		if err != nil || len(revoked.Serials) != want || revoked.NoAdminLeft {
			t.Errorf("revoked %v, want %d: %v", revoked, want, err)
		}
	}
	for _, b := range []ca.Bundle{bundle, renewed} {
		if !h.registry.Denied(peer(t, b).Serial()) {
			t.Error("not on the deny list")
		}
		if _, err := h.registry.Renew(t.Context(),
			ca.RenewRequest{Peer: peer(t, b),
				Keys: mine}); errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
			t.Errorf("renewed after revocation: %v", err)
		}
	}
	for _, old := range []string{token, unusedBefore} {
		if _, err := h.enroll(old, "db-1",
			mine); errs.ReasonOf(err) != errorsv1.Reason_REASON_TOKEN_INVALID {
			t.Errorf("an old token after revocation: %v", err)
		}
	}
	h.clock.forward(time.Second)
	if _, err := h.enroll(h.joinFile("db-1").Token, "db-1", keys(t)); err != nil {
		t.Errorf("a new token after revocation: %v", err)
	}
}

func TestRevokeNobody(t *testing.T) {
	t.Parallel()
	h := build(t)
	if _, err := h.registry.Revoke(t.Context(),
		ca.RevokeRequest{Who: identity.Agent("db-1"), Caller: byRoot()}); !errors.Is(err,
		errs.NotFound) {
		t.Error(err)
	}
	if _, err := h.registry.Revoke(t.Context(),
		ca.RevokeRequest{Who: identity.ControlPlane()}); !errors.Is(err, errs.InvalidArgument) {
		t.Error(err)
	}
}

func TestOnlyAgentsRenewAndOnlyWithRecordedCertificates(t *testing.T) {
	t.Parallel()
	h, other := build(t), build(t)
	bundle, err := other.enroll(other.joinFile("db-1").Token, "db-1", keys(t))
	if err != nil {
		t.Fatal(err)
	}
	unknownPeer, operator := peer(t, bundle), peer(t, bundle)
	operator.Identity = identity.Operator("ann")
	if _, err := h.registry.Renew(t.Context(),
		ca.RenewRequest{Peer: unknownPeer, Keys: keys(t)}); !errors.Is(err, errs.Unauthenticated) {
		t.Error(err)
	}
	if _, err := h.registry.Renew(t.Context(),
		ca.RenewRequest{Peer: operator, Keys: keys(t)}); !errors.Is(err, errs.PermissionDenied) {
		t.Error(err)
	}
}

func TestAStoreThatFailsIsSaidSo(t *testing.T) {
	t.Parallel()
	h := build(t)
	file := h.joinFile("db-1")
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := h.enroll(file.Token, "db-1", keys(t))
	if !errors.Is(err, errs.Unavailable) ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_STORE_UNAVAILABLE ||
		errs.HintOf(err).String() == "" {
		t.Error(err)
	}
	if len(h.enrolled) != 0 {
		t.Error("told of an enrolment that was not recorded")
	}
}

func TestTheServerRecordNamesItsAgentAndTheAuditSaysWho(t *testing.T) {
	t.Parallel()
	h := build(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx,
			&inventory.Server{Name: "db-1", State: inventory.ServerProvisioning})
	}))
	_, err := h.enroll(h.joinFile("db-1").Token, "db-1", keys(t))
	must(err)
	must(h.store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		server, err := tx.Servers().Get(ctx, "db-1")
		if err != nil || server.AgentIdentity != "spiffe://understudy/agent/db-1" {
			t.Errorf("%q %v", server.AgentIdentity, err)
		}
		events, _, err := tx.Events().List(ctx, store.EventFilter{Subject: "servers/db-1"},
			store.Page{})
		if err != nil || len(events) != 2 || events[0].Action != "server.enrol" ||
			events[1].Action != "server.join-token" {
			t.Errorf("%v %v", events, err)
		}
		return nil
	}))
}
