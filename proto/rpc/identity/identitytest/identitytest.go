// Package identitytest makes certificates for tests that need real TLS, wrong ones included.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// CA is a certificate authority that lives as long as a test.
type CA struct {
	// Certificate is the root.
	Certificate *x509.Certificate

	t   testing.TB
	key *ecdsa.PrivateKey
}

// New makes a CA.
func New(t testing.TB) *CA {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
	}
	return &CA{t: t, key: key, Certificate: sign(t, template, template, &key.PublicKey, key)}
}

// Open is the CA of a control plane, in the folder ca of its state directory.
func Open(t testing.TB, dir string) *CA {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return &CA{t: t, key: pair.PrivateKey.(*ecdsa.PrivateKey), Certificate: pair.Leaf}
}

// Pool holds the root alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	return pool
}

// Issue makes a certificate for the identity, good on both ends of a connection and for 127.0.0.1;
// change may spoil it first.
func (ca *CA) Issue(id identity.Identity, change ...func(*x509.Certificate)) *tls.Certificate {
	ca.t.Helper()
	key := newKey(ca.t)
	leaf := ca.Certify(&key.PublicKey, id, change...)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Certify is Issue for a key that somebody else has.
func (ca *CA) Certify(key *ecdsa.PublicKey, id identity.Identity,
	change ...func(*x509.Certificate)) *x509.Certificate {
	ca.t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(ca.t), NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{id.URI()},
	}
	for _, spoil := range change {
		spoil(template)
	}
	return sign(ca.t, template, ca.Certificate, key, ca.key)
}

// Source is the identity's credentials, believing this CA.
func (ca *CA) Source(id identity.Identity, change ...func(*x509.Certificate)) identity.Source {
	ca.t.Helper()
	return &identity.Static{Certificate: ca.Issue(id, change...), Roots: ca.Pool()}
}

// WriteFiles writes ca.pem, cert.pem and key.pem into the folder, each in one step, and says where
// they are.
func (ca *CA) WriteFiles(dir string, cert *tls.Certificate) identity.FilesConfig {
	ca.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		ca.t.Fatal(err)
	}
	return identity.FilesConfig{
		CA:   ca.write(dir, "ca.pem", "CERTIFICATE", ca.Certificate.Raw),
		Key:  ca.write(dir, "key.pem", "PRIVATE KEY", key),
		Cert: ca.write(dir, "cert.pem", "CERTIFICATE", cert.Certificate[0]),
	}
}

func (ca *CA) write(dir, name, kind string, der []byte) string {
	path := filepath.Join(dir, name)
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		ca.t.Fatal(err)
	}
	return path
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func sign(t testing.TB, template, parent *x509.Certificate, key *ecdsa.PublicKey,
	signer *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
