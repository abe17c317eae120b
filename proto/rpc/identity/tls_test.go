package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handshake connects both over loopback, sends a byte each way, and returns what each side met.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		done <- exchange(tls.Server(conn, server))
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	clientErr = exchange(tls.Client(conn, client))
	conn.Close()
	return <-done, clientErr
}

func exchange(conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func serverTLS(t *testing.T, config identity.ServerConfig) *tls.Config {
	t.Helper()
	made, err := identity.ServerTLS(config)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func clientTLS(t *testing.T, config identity.ClientConfig) *tls.Config {
	t.Helper()
	made, err := identity.ClientTLS(config)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func expired(cert *x509.Certificate) { cert.NotAfter = time.Now().Add(-time.Second) }
func early(cert *x509.Certificate)   { cert.NotBefore = time.Now().Add(time.Minute) }
func onlyServer(cert *x509.Certificate) {
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}
func onlyClient(cert *x509.Certificate) {
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
}
func noURI(cert *x509.Certificate) { cert.URIs, cert.DNSNames = nil, []string{"db-1"} }
func twoURIs(cert *x509.Certificate) {
	cert.URIs = append(cert.URIs, identity.ControlPlane().URI())
}
func foreignURI(cert *x509.Certificate) {
	cert.URIs = []*url.URL{{Scheme: "spiffe", Host: "elsewhere", Path: "/controlplane"}}
}

func TestBothSidesAreChecked(t *testing.T) {
	t.Parallel()
	ours, theirs := identitytest.New(t), identitytest.New(t)
	agent, plane := identity.Agent("db-1"), identity.ControlPlane()
	roots := ours.Pool()
	tests := []struct {
		name           string
		server, client *tls.Certificate
		refusedBy      string // "", "server" or "client"
		why            string
	}{
		{"right", ours.Issue(agent), ours.Issue(plane), "", ""},
		{"server of another CA", theirs.Issue(agent), ours.Issue(plane), "client",
			"unknown authority"},
		{"client of another CA", ours.Issue(agent), theirs.Issue(plane), "server",
			"unknown authority"},
		{"another server", ours.Issue(identity.Agent("db-2")), ours.Issue(plane), "client",
			"expected spiffe://understudy/agent/db-1"},
		{"server with an operator's identity", ours.Issue(identity.Operator("db-1")),
			ours.Issue(plane), "client", "expected"},
		{"server good for clients alone", ours.Issue(agent, onlyClient), ours.Issue(plane),
			"client", "incompatible key usage"},
		{"client good for servers alone", ours.Issue(agent), ours.Issue(plane, onlyServer),
			"server", "incompatible key usage"},
		{"expired server", ours.Issue(agent, expired), ours.Issue(plane), "client", "expired"},
		{"expired client", ours.Issue(agent), ours.Issue(plane, expired), "server", "expired"},
		{"client of tomorrow", ours.Issue(agent), ours.Issue(plane, early), "server",
			"not yet valid"},
		{"client without certificate", ours.Issue(agent), nil, "server",
			"didn't provide a certificate"},
		{"client without identity", ours.Issue(agent), ours.Issue(plane, noURI), "server",
			"carries 0 identities"},
		{"client with two identities", ours.Issue(agent), ours.Issue(agent, twoURIs), "server",
			"carries 2 identities"},
		{"client of another fleet", ours.Issue(agent), ours.Issue(plane, foreignURI), "server",
			"no identity of this fleet"},
		{"server without identity", ours.Issue(agent, noURI), ours.Issue(plane), "client",
			"carries 0 identities"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := serverTLS(t,
				identity.ServerConfig{Source: &identity.Static{Certificate: test.server,
					Roots: roots}})
			client := clientTLS(t, identity.ClientConfig{
				Source: &identity.Static{Certificate: test.client, Roots: roots}, Expect: agent})
			serverErr, clientErr := handshake(t, server, client)
			refusal := map[string]error{"server": serverErr, "client": clientErr,
				"": errors.Join(serverErr, clientErr)}[test.refusedBy]
			if test.refusedBy == "" && refusal != nil {
				t.Fatal(refusal)
			}
			if test.refusedBy != "" &&
				(refusal == nil || !strings.Contains(refusal.Error(), test.why)) {
				t.Errorf("the %s says %v, want %q", test.refusedBy, refusal, test.why)
			}
			if test.refusedBy != "" && (serverErr == nil || clientErr == nil) {
				t.Errorf("one side goes on: server %v, client %v", serverErr, clientErr)
			}
		})
	}
}

func TestAnonymousOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	newcomer := clientTLS(t, identity.ClientConfig{Source: &identity.Static{Roots: ca.Pool()},
		Expect: identity.ControlPlane()})
	open := identity.ServerConfig{Source: ca.Source(identity.ControlPlane()), AllowAnonymous: true}
	if serverErr, clientErr := handshake(t, serverTLS(t, open), newcomer); serverErr != nil ||
		clientErr != nil {
		t.Errorf("server %v, client %v", serverErr, clientErr)
	}
	forger := identitytest.New(t).Issue(identity.Operator("mallory"))
	forged := clientTLS(t, identity.ClientConfig{
		Source: &identity.Static{Certificate: forger, Roots: ca.Pool()},
		Expect: identity.ControlPlane()})
	if serverErr, _ := handshake(t, serverTLS(t, open), forged); serverErr == nil {
		t.Error("a forged certificate passed where none is fine")
	}
}

func TestRevokedOnBothSides(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	agent, plane := ca.Issue(identity.Agent("db-1")), ca.Issue(identity.ControlPlane())
	deny := func(cert *tls.Certificate) func(string) bool {
		return func(serial string) bool { return serial == identity.Serial(cert.Leaf) }
	}
	config := identity.ServerConfig{Source: &identity.Static{Certificate: plane, Roots: ca.Pool()},
		Revoked: deny(agent)}
	client := clientTLS(t, identity.ClientConfig{
		Source: &identity.Static{Certificate: agent, Roots: ca.Pool()},
		Expect: identity.ControlPlane()})
	if serverErr, _ := handshake(t, serverTLS(t, config), client); serverErr == nil ||
		!strings.Contains(serverErr.Error(), "revoked") {
		t.Errorf("server: %v", serverErr)
	}
	client = clientTLS(t, identity.ClientConfig{Revoked: deny(agent),
		Source: &identity.Static{Certificate: plane, Roots: ca.Pool()},
		Expect: identity.Agent("db-1")})
	server := serverTLS(t,
		identity.ServerConfig{Source: &identity.Static{Certificate: agent, Roots: ca.Pool()}})
	if _, clientErr := handshake(t, server, client); clientErr == nil ||
		!strings.Contains(clientErr.Error(), "revoked") {
		t.Errorf("client: %v", clientErr)
	}
}

func TestOlderTLSIsRefused(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	server := serverTLS(t, identity.ServerConfig{Source: ca.Source(identity.Agent("db-1"))})
	client := clientTLS(t, identity.ClientConfig{Source: ca.Source(identity.ControlPlane()),
		Expect: identity.Agent("db-1")})
	client.MinVersion, client.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if serverErr, clientErr := handshake(t, server, client); serverErr == nil || clientErr == nil {
		t.Error("TLS 1.2 passed")
	}
}

func TestNoSessionIsResumed(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	server := serverTLS(t, identity.ServerConfig{Source: ca.Source(identity.Agent("db-1"))})
	client := clientTLS(t, identity.ClientConfig{Source: ca.Source(identity.ControlPlane()),
		Expect: identity.Agent("db-1")})
	client.SessionTicketsDisabled, client.ClientSessionCache = false,
		tls.NewLRUClientSessionCache(4)
	verify := client.VerifyConnection
	client.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume {
			t.Error("resumed: the certificate was not checked again")
		}
		return verify(state)
	}
	for range 3 {
		if serverErr, clientErr := handshake(t, server, client); serverErr != nil ||
			clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
	}
}

// A standard client with nothing but the CA (grpcurl) finds a name that it can check.
func TestClientOfAnotherMake(t *testing.T) {
	t.Parallel()
	ca := identitytest.New(t)
	server := serverTLS(t, identity.ServerConfig{Source: ca.Source(identity.Agent("db-1"))})
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{*ca.Issue(identity.Operator("ann"))}}
	if serverErr, clientErr := handshake(t, server, client); serverErr != nil || clientErr != nil {
		t.Error(serverErr, clientErr)
	}
}

func TestFilesReloadWithoutARestart(t *testing.T) {
	t.Parallel()
	old, next, dir := identitytest.New(t), identitytest.New(t), t.TempDir()
	files, err := identity.NewFiles(old.WriteFiles(dir, old.Issue(identity.Agent("db-1"))))
	if err != nil {
		t.Fatal(err)
	}
	server := serverTLS(t, identity.ServerConfig{Source: files})
	dial := func(ca *identitytest.CA) error {
		client := clientTLS(t, identity.ClientConfig{Source: ca.Source(identity.ControlPlane()),
			Expect: identity.Agent("db-1")})
		return errors.Join(handshake(t, server, client))
	}
	if err := dial(old); err != nil {
		t.Fatal(err)
	}
	next.WriteFiles(dir, next.Issue(identity.Agent("db-1")))
	if err := dial(next); err != nil {
		t.Errorf("the new CA: %v", err)
	}
	if err := dial(old); err == nil {
		t.Error("the old CA still passes")
	}
}

func TestHalfAPairKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	ca, dir, other := identitytest.New(t), t.TempDir(), t.TempDir()
	first, second := ca.Issue(identity.Agent("db-1")), ca.Issue(identity.Agent("db-1"))
	config := ca.WriteFiles(dir, first)
	files, err := identity.NewFiles(config)
	if err != nil {
		t.Fatal(err)
	}
	complete := ca.WriteFiles(other, second)
	for _, step := range []struct {
		from, to string
		want     *tls.Certificate
	}{{complete.Key, config.Key, first}, {complete.Cert, config.Cert, second}} {
		move(t, step.from, step.to)
		got, err := files.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		if identity.Serial(leaf(t, got)) != identity.Serial(step.want.Leaf) {
			t.Errorf("after %s: another certificate", step.to)
		}
	}
}

func TestMissingFilesAreAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	if _, err := identity.NewFiles(identity.FilesConfig{CA: "/nonexistent/ca",
		Cert: "/nonexistent/c", Key: "/nonexistent/k"}); err == nil {
		t.Error("no error")
	}
	if _, err := identity.ClientTLS(identity.ClientConfig{Source: &identity.Static{}}); err == nil {
		t.Error("a client that expects nobody")
	}
}
