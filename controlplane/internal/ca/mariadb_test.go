package ca_test

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
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
	if identity.MariaDBServer(mariadb) != "db1" {
		t.Errorf("it signs in as %q: %s", identity.MariaDBServer(mariadb), mariadb.Subject)
	}
	if agent := parse(t, bundle.Agent); identity.MariaDBServer(agent) != "" {
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
