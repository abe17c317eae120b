package ca_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
)

// An intermediate that has ended, or whose key is gone, is replaced by another one of the same root
// when that is asked for: no host and no operator joins again, and the name stays. One that still
// signs is left alone.
func TestALostIntermediateIsReplaced(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(e *estate){
		"ended": func(e *estate) { e.clock.forward(2 * 365 * day) },
		"without its key": func(e *estate) {
			other := keyFile(t, newKey(t), 0o600)
			if err := os.Rename(other, filepath.Join(e.dir, "ca", "key.pem")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		e := newEstate(t, "db-1")
		root := e.offline()
		first := root.sign(e.request())
		e.installs(append(first, encode(root.cert)...))
		e.succeeds()
		key := newKey(t)
		host := e.agent("db-2", key)
		file := filepath.Join(t.TempDir(), "intermediate.pem")
		open := func(by *offline, change ...func(*x509.Certificate)) error {
			own, err := x509.ParsePKCS8PrivateKey(pemBytes(t, e.read("ca", "key.pem")))
			if err != nil {
				t.Fatal(err)
			}
			request, err := x509.CreateCertificateRequest(rand.Reader,
				&x509.CertificateRequest{RawSubject: parse(t, first).RawSubject}, own)
			if err != nil {
				t.Fatal(err)
			}
			chain := by.sign(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST",
				Bytes: request}), append(change, func(c *x509.Certificate) {
				c.BasicConstraintsValid, c.IsCA, c.MaxPathLenZero = true, true, true
				c.KeyUsage = x509.KeyUsageCertSign
			})...)
			if err := os.WriteFile(file, append(chain, encode(by.cert)...), 0o600); err != nil {
				t.Fatal(err)
			}
			config := e.authority()
			config.Intermediate = file
			_, err = ca.OpenAuthority(t.Context(), config)
			return err
		}
		before := e.read("ca", "ca.pem")
		if err := open(root); err != nil || string(e.read("ca", "ca.pem")) != string(before) {
			t.Errorf("%s: replaced before it was: %v", what, err)
		}
		lose(e)
		if _, err := ca.OpenAuthority(t.Context(), e.authority()); err == nil {
			t.Errorf("%s: used", what)
		}
		if err := open(e.offline()); err == nil || !strings.Contains(err.Error(), "believe") {
			t.Errorf("%s: of another root: %v", what, err)
		}
		if err := open(root, func(c *x509.Certificate) {
			c.PublicKey = &newKey(t).PublicKey
		}); err == nil || !strings.Contains(err.Error(), "is not that of it") {
			t.Errorf("%s: of another key: %v", what, err)
		}
		if err := open(root); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		e.registry = e.open()
		e.keep()
		plane := e.read("controlplane", "cert.pem")
		if _, err := parse(t, plane).Verify(x509.VerifyOptions{Roots: pool(t, host.CA),
			Intermediates: pool(t, plane), CurrentTime: e.clock.Now()}); err != nil {
			t.Errorf("%s: a host refuses the control plane: %v", what, err)
		}
		if what == "ended" {
			e.clock.forward(time.Second)
			e.registry = e.open(func(c *ca.Config) { c.AgentGrace = 3 * 365 * day })
			if _, err := e.expired(host.Agent, key); err != nil {
				t.Errorf("a host does not come back: %v", err)
			}
			continue
		}
		e.renew("db-1", true)
		e.check(what)
	}
}

// One that ends in the middle of the replacement that it is the successor of is replaced too, and
// the replacement goes on.
func TestALostSuccessorIsReplaced(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	root, request := e.offline(), e.request()
	e.installs(append(root.sign(request, func(c *x509.Certificate) {
		c.NotAfter = e.clock.Now().Add(91 * day)
	}), encode(root.cert)...))
	e.renew("db-1", true)
	e.clock.forward(3 * time.Hour)
	e.goes(ca.PhaseRenewing, false)
	e.clock.forward(92 * day)
	config := e.authority()
	config.Intermediate = filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(config.Intermediate, append(root.sign(request),
		encode(root.cert)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.OpenAuthority(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	e.registry = e.open()
	e.keep()
	status, err := ca.NewRotation(e.registry).Status(t.Context())
	if err != nil || status.Phase != ca.PhaseRenewing || status.Roots[0].Intermediate == nil ||
		!status.Roots[0].Intermediate.Expires.After(e.clock.Now()) {
		t.Errorf("%+v %v", status, err)
	}
}

func pemBytes(t *testing.T, data []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}
