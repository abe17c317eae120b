//go:build lab

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// TestAgentsRefuseWhoWasRevoked has somebody who goes on with an operator's key after the
// revocation, and calls an agent directly: over an open connection, a new one, and after the agent
// was restarted while no control plane runs.
func TestAgentsRefuseWhoWasRevoked(t *testing.T) {
	t.Parallel()
	l := newLab(t, "revoked")
	l.run("server", "create", "db1")
	address := l.server("db1").GetAddress()
	stolen := l.operator("mallory")
	dial := func(with identity.Source) (agentv1.HostServiceClient, *grpc.ClientConn) {
		conn, err := chassis.Dial(chassis.DialConfig{Address: address + ":7443",
			TLS: identity.ClientConfig{Source: with, Expect: identity.Agent("db1")}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return agentv1.NewHostServiceClient(conn), conn
	}
	mallory, conn := dial(stolen)
	look := func(by agentv1.HostServiceClient) error {
		_, err := by.GetHost(t.Context(), &agentv1.GetHostRequest{})
		return err
	}
	if err := look(mallory); err != nil {
		t.Fatal(err)
	}
	some, _ := dial(l.operator("some", "--servers", "db*"))
	if err := look(some); !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("an agent lets in who works with some servers alone: %v", err)
	}
	watch, err := agentv1.NewSystemdServiceClient(conn).WatchUnits(t.Context(),
		&agentv1.WatchUnitsRequest{Units: []string{"mariadb.service"}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan time.Time, 1)
	go func() {
		for {
			if _, err := watch.Recv(); err != nil {
				ended <- time.Now()
				return
			}
		}
	}()
	l.run("operator", "revoke", "mallory", "--reason", "the laptop was stolen")
	revoked := time.Now()
	awaitTrue(t, 30*time.Second, "the agent refuses", func() bool {
		err := look(mallory)
		if err != nil && !errors.Is(err, errs.Unauthenticated) && !errors.Is(err,
			errs.Unavailable) {
			t.Errorf("the agent refuses with %v", err)
		}
		return err != nil
	})
	t.Logf("refused %s after the revocation", time.Since(revoked).Round(time.Millisecond))
	t.Logf("the stream ended %s after it", (<-ended).Sub(revoked).Round(time.Millisecond))
	again, _ := dial(stolen)
	if err := look(again); err == nil {
		t.Error("a new connection is served")
	}

	l.Kill()
	l.exec("db1", "systemctl", "restart", "understudy-agent")
	awaitTrue(t, 30*time.Second, "the agent serves others", func() bool {
		own, err := l.DialAgent("db1", address)
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		return look(agentv1.NewHostServiceClient(own)) == nil
	})
	again, _ = dial(stolen)
	if err := look(again); err == nil {
		t.Error("a restarted agent that reaches no control plane lets mallory in")
	}
}

// operator is a new operator, by the command line.
func (l *lab) operator(name string, more ...string) identity.Source {
	l.t.Helper()
	out, err := l.CLI(l.t.Context(), append([]string{"operator", "create", name, "--out", "-"},
		more...)...).Output()
	var made struct {
		CA          string `json:"ca_pem"`
		Certificate string `json:"certificate_pem"`
		Key         string `json:"key_pem"`
	}
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(made.Certificate), []byte(made.Key))
	if err != nil {
		l.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(made.CA)) {
		l.t.Fatal("no CA in the credentials")
	}
	return &identity.Static{Certificate: &pair, Roots: roots}
}
