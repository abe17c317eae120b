package enroll_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// rerooted has the plane answer with another root, and what that signed: the last step of a
// replacement of the root. The plane shows the one of before until the test ends.
func (h *host) rerooted() *identitytest.CA {
	h.t.Helper()
	other := identitytest.New(h.t)
	again := func(data []byte) []byte {
		block, _ := pem.Decode(data)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			h.t.Error(err)
			return nil
		}
		key, _ := cert.PublicKey.(*ecdsa.PublicKey)
		return encode(other.Certify(key, identity.Agent("db-1"), func(to *x509.Certificate) {
			to.NotAfter, to.URIs, to.Subject = cert.NotAfter, cert.URIs, cert.Subject
		}))
	}
	h.plane.set(func() {
		h.plane.life = time.Hour / 2
		h.plane.answer = func(c *controlplanev1.Certificates) {
			c.CaPem, c.AgentPem = encode(other.Certificate), again(c.GetAgentPem())
			if len(c.GetMariadbPem()) > 0 {
				c.MariadbPem = again(c.GetMariadbPem())
			}
		}
	})
	return other
}

// of says whether agent and MariaDB have certificates of that root.
func (h *host) of(e *enroll.Enroller, root *identitytest.CA) (agent, mariadb bool) {
	h.t.Helper()
	for _, of := range []struct {
		path string
		is   *bool
	}{{e.Files().Cert, &agent}, {e.MariaDBFiles().Cert, &mariadb}} {
		cert, err := identity.ReadCertificate(of.path)
		if err != nil {
			h.t.Fatal(err)
		}
		*of.is = cert.CheckSignatureFrom(root.Certificate) == nil
	}
	return agent, mariadb
}

// An answer whose roots are no longer those of MariaDB's certificate has the host renew that too,
// before it takes the roots.
func TestMariaDBsCertificateIsRenewedWithItsRoot(t *testing.T) {
	t.Parallel()
	h := brief(t)
	h.plane.life = time.Hour / 2
	h.joined("t1")
	other := h.rerooted()
	e := h.start(off(28 * time.Minute))
	runs(t, e, func() bool { agent, _ := h.of(e, other); return agent })
	if _, mariadb := h.of(e, other); !mariadb {
		t.Error("MariaDB has a certificate that its own roots do not verify")
	}
	h.check(e)
}

// A host that was away for long gets the new root with a certificate of its agent alone: it keeps
// that, and renews MariaDB's as soon as it runs.
func TestAHostComesBackToAnotherRoot(t *testing.T) {
	t.Parallel()
	h := brief(t)
	h.joined("t1")
	other := h.rerooted()
	e := h.start(off(time.Minute))
	if name, err := e.Ensure(patience(t)); err != nil || name != "db-1" {
		t.Fatalf("%q %v", name, err)
	}
	if name, err := h.start(off(time.Minute)).Ensure(patience(t)); err != nil || name != "db-1" {
		t.Errorf("the next start: %q %v", name, err)
	}
	h.plane.set(func() { h.plane.shows = other.Source(identity.ControlPlane()) })
	runs(t, e, func() bool { _, mariadb := h.of(e, other); return mariadb })
	h.check(e)
}

// An answer that is no good leaves the files in use as they are.
func TestAnAnswerThatIsNoGoodIsNotKept(t *testing.T) {
	t.Parallel()
	h := brief(t)
	e := h.joined("t1")
	files := []string{e.Files().CA, e.Files().Cert, e.MariaDBFiles().CA, e.MariaDBFiles().Cert}
	var before [][]byte
	for _, path := range files {
		before = append(before, contents(t, path))
	}
	h.plane.set(func() {
		h.plane.life = time.Hour / 2
		h.plane.answer = func(c *controlplanev1.Certificates) {
			c.CaPem = encode(identitytest.New(t).Certificate)
		}
	})
	if _, err := h.start(off(time.Minute)).Ensure(patience(t)); err == nil {
		t.Fatal("an answer whose roots do not verify its certificate was taken")
	}
	for i, path := range files {
		if !bytes.Equal(contents(t, path), before[i]) {
			t.Errorf("%s was written", path)
		}
	}
}
