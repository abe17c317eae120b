package ca_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// MariaDB's user reads the key of MariaDB's certificate. It signs in to MariaDB as a replica, and
// to no program of ours; and no agent's certificate signs in as a replica.
func TestMariaDBsCertificateOpensNothing(t *testing.T) {
	t.Parallel()
	h := build(t)
	agentKey, mariadbKey := newKey(t), newKey(t)
	bundle, err := h.enroll(h.joinFile("db1").Token, "db1", ca.Keys{Agent: csr(t, agentKey),
		MariaDB: csr(t, mariadbKey)})
	if err != nil {
		t.Fatal(err)
	}
	mariadb := parse(t, bundle.MariaDB)
	if who := identity.MariaDBOf(mariadb); who.Server != "db1" {
		t.Errorf("it signs in as %v: %s", who, mariadb.Subject)
	}
	if agent := parse(t, bundle.Agent); identity.MariaDBOf(agent).Server != "" {
		t.Errorf("an agent signs in as a replica: %s", agent.Subject)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle.CA)
	server, err := identity.ServerTLS(identity.ServerConfig{AllowAnonymous: true, Now: h.clock.Now,
		Source: &identity.Static{Certificate: &tls.Certificate{
			Certificate: [][]byte{parse(t, bundle.Agent).Raw}, PrivateKey: agentKey},
			Roots: roots}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		cert *x509.Certificate
		key  *ecdsa.PrivateKey
		in   bool
	}{{parse(t, bundle.Agent), agentKey, true}, {mariadb, mariadbKey, false}} {
		ours, theirs := net.Pipe()
		client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true,
			Certificates: []tls.Certificate{{Certificate: [][]byte{test.cert.Raw},
				PrivateKey: test.key}}})
		var wait sync.WaitGroup
		wait.Go(func() { _, _ = io.Copy(io.Discard, client) })
		err := tls.Server(ours, server).HandshakeContext(t.Context())
		if (err == nil) != test.in {
			t.Errorf("%s is let in: %v", test.cert.Subject, err)
		}
		_, _ = ours.Close(), theirs.Close()
		wait.Wait()
	}
}

// A machine that enrols again signs in as before, unless certificates of the server were revoked,
// as those of a deleted server are: then what its account demands is what no earlier one has.
func TestACertificateOfBeforeARevocationIsOfAnotherGeneration(t *testing.T) {
	t.Parallel()
	h := build(t)
	const asked = "0123456789abcdef"
	enrol := func() identity.MariaDB {
		t.Helper()
		bundle, err := h.registry.Enroll(t.Context(), ca.EnrollRequest{Server: "db1",
			Token: h.joinFile("db1").Token, Keys: keys(t), Generation: asked})
		if err != nil {
			t.Fatal(err)
		}
		return identity.MariaDBOf(parse(t, bundle.MariaDB))
	}
	for range 2 {
		if who := enrol(); who != (identity.MariaDB{Server: "db1", Generation: asked}) {
			t.Errorf("%+v", who)
		}
	}
	if _, err := h.registry.Revoke(t.Context(), ca.RevokeRequest{Who: identity.Agent("db1"),
		Reason: "stolen", Caller: byRoot()}); err != nil {
		t.Fatal(err)
	}
	h.clock.forward(time.Minute)
	if who := enrol(); who.Generation == asked || who.Generation == "" {
		t.Errorf("a certificate of before opens what this one does: %+v", who)
	}
}

// Nothing but a generation goes from a request into the subject.
func TestAGenerationThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	h := build(t)
	_, err := h.registry.Enroll(t.Context(), ca.EnrollRequest{Server: "db1",
		Token: h.joinFile("db1").Token, Keys: keys(t), Generation: "x/CN=db2"})
	if !errors.Is(err, errs.InvalidArgument) {
		t.Errorf("%v", err)
	}
}
