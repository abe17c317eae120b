package ca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that a test turns.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

// house is a registry on a real store in a folder of its own.
type house struct {
	t        *testing.T
	dir      string
	clock    *clock
	store    *store.Store
	registry *ca.Registry
	enrolled []string
	tokens   int // ID tokens made
	// keys changes where the CA's keys are; may be nil.
	keys func(*ca.AuthorityConfig)
}

// authority is what the CA is opened with.
func (h *house) authority() ca.AuthorityConfig {
	config := ca.AuthorityConfig{Dir: filepath.Join(h.dir, "ca"), Now: h.clock.Now, Logger: quiet()}
	if h.keys != nil {
		h.keys(&config)
	}
	return config
}

func build(t *testing.T) *house {
	t.Helper()
	return buildWith(t, nil)
}

// buildWith builds one whose CA's keys are elsewhere.
func buildWith(t *testing.T, keys func(*ca.AuthorityConfig)) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), clock: &clock{now: time.Now().Truncate(time.Second)},
		keys: keys}
	h.store = h.newStore("understudy.db")
	h.registry = h.open()
	return h
}

func (h *house) newStore(file string) *store.Store {
	return storetest.New(h.t, func(cfg *store.Config) {
		cfg.Path, cfg.Now = filepath.Join(h.dir, file), h.clock.Now
	})
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// open opens the registry, as a control plane that starts does.
func (h *house) open(change ...func(*ca.Config)) *ca.Registry {
	h.t.Helper()
	authority, err := ca.OpenAuthority(h.t.Context(), h.authority())
	if err != nil {
		h.t.Fatal(err)
	}
	config := ca.Config{
		Authority: authority, Store: ca.StoreOf(h.store, records),
		ControlPlane: []string{"10.0.0.1:7440", "understudy.example:7440"},
		OperatorLife: 365 * 24 * time.Hour, Now: h.clock.Now, Logger: quiet(),
		Enrolled: func(server string) { h.enrolled = append(h.enrolled, server) },
	}
	for _, c := range change {
		c(&config)
	}
	registry, err := ca.New(h.t.Context(), config)
	if err != nil {
		h.t.Fatal(err)
	}
	return registry
}

func records(tx *store.Tx) ca.Records {
	return ca.Records{Tokens: tx.JoinTokens(), Certificates: tx.Certificates(), Events: tx.Events(),
		Lost: tx.Lost, Operators: tx.Operators(), Grants: tx.AgentGrants(),
		Logins: tx.Logins(), Requests: tx.Requests(), Restored: tx.RestoredAt,
		HasAgent: func(ctx context.Context, name string) error {
			server, err := tx.Servers().Get(ctx, name)
			if err != nil {
				return err
			}
			return server.HasAgent()
		},
		Primary: func(ctx context.Context, name string) (string, error) {
			server, err := tx.Servers().Get(ctx, name)
			if errors.Is(err, inventory.ErrNotFound) {
				return "", nil
			}
			return server.Primary, err
		},
		Machine: func(ctx context.Context, name string) (string, error) {
			server, err := tx.Servers().Get(ctx, name)
			if errors.Is(err, inventory.ErrNotFound) {
				return "", nil
			}
			return server.MachineID, err
		},
		Address: func(ctx context.Context, name string) (string, error) {
			server, err := tx.Servers().Get(ctx, name)
			if errors.Is(err, inventory.ErrNotFound) {
				return "", nil
			}
			return server.Address, err
		},
		NoteAgent: func(ctx context.Context, name, agent string) error {
			server, err := tx.Servers().Get(ctx, name)
			if errors.Is(err, inventory.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			server.AgentIdentity = agent
			return tx.Servers().Update(ctx, &server)
		}}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// csr asks for the world; nothing of it may be granted.
func csr(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "controlplane",
		Organization: []string{"evil"}},
		DNSNames: []string{"controlplane", "db-9"}}
	template.URIs = append(template.URIs, identity.ControlPlane().URI())
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func keys(t *testing.T) ca.Keys {
	t.Helper()
	return ca.Keys{Agent: csr(t, newKey(t)), MariaDB: csr(t, newKey(t))}
}

func rsaCSR(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return csr(t, key)
}

func parse(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (h *house) read(parts ...string) []byte {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{h.dir}, parts...)...))
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

func (h *house) joinFile(server string) identity.JoinFile {
	h.t.Helper()
	data, err := h.registry.JoinFile(h.t.Context(), server)
	if err != nil {
		h.t.Fatal(err)
	}
	file, err := identity.ParseJoinFile(data)
	if err != nil {
		h.t.Fatal(err)
	}
	return file
}

func (h *house) enroll(token, server string, k ca.Keys) (ca.Bundle, error) {
	return h.registry.Enroll(h.t.Context(), ca.EnrollRequest{Token: token, Server: server, Keys: k,
		TakesChain: true, Address: "10.0.0.7", RequestID: "r"})
}
