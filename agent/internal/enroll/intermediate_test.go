package enroll_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// below has the plane's root sign no host's certificate itself, but an intermediate, which stands
// behind each.
func (h *host) below() {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	by := h.plane.ca.Certify(&key.PublicKey, identity.Agent("none"), func(to *x509.Certificate) {
		to.Subject = pkix.Name{CommonName: "intermediate"}
		to.BasicConstraintsValid, to.IsCA, to.MaxPathLenZero = true, true, true
		to.KeyUsage, to.ExtKeyUsage, to.URIs = x509.KeyUsageCertSign, nil, nil
	})
	again := func(data []byte) []byte {
		block, _ := pem.Decode(data)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			h.t.Error(err)
			return nil
		}
		cert.AuthorityKeyId = nil
		der, err := x509.CreateCertificate(rand.Reader, cert, by, cert.PublicKey, key)
		if err != nil {
			h.t.Error(err)
		}
		return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			encode(by)...)
	}
	h.plane.set(func() {
		h.plane.answer = func(c *controlplanev1.Certificates) {
			c.AgentPem = again(c.GetAgentPem())
			if len(c.GetMariadbPem()) > 0 {
				c.MariadbPem = again(c.GetMariadbPem())
			}
		}
	})
}

// A host takes certificates of an intermediate of the root that it believes, shows them with it,
// and renews them so.
func TestAHostShowsTheIntermediate(t *testing.T) {
	t.Parallel()
	h := newHost(t, newPlane(t))
	h.below()
	e := h.joined("token")
	before := h.serial(e)
	if err := e.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.serial(e) == before {
		t.Error("nothing was renewed")
	}
	for _, path := range []string{e.Files().Cert, e.MariaDBFiles().Cert} {
		if data, err := os.ReadFile(path); err != nil || bytes.Count(data, []byte("BEGIN")) != 2 {
			t.Errorf("%s: %v\n%s", path, err, data)
		}
	}
}
