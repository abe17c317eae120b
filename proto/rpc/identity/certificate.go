package identity

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// FromCertificate is the identity in a certificate: its only URI. It does not verify the
// certificate.
func FromCertificate(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 {
		return Identity{}, fmt.Errorf("the certificate carries %d identities, must be 1",
			len(cert.URIs))
	}
	return Parse(cert.URIs[0].String())
}

// ReadCertificate reads the first certificate of a file. It does not verify it.
func ReadCertificate(path string) (*x509.Certificate, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("no certificate in %s", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("no certificate in %s: %w", path, err)
	}
	return cert, nil
}

// Serial is how a certificate is named in records and in the deny list: its serial number in
// lower-case hexadecimal.
func Serial(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

// KeyPrint is how a certificate's key is named in records and in grants: SHA-256 of the public key
// in its PKIX form, in lower-case hexadecimal. A renewed certificate for the same key has the same.
func KeyPrint(cert *x509.Certificate) string {
	return keyPrint(cert.RawSubjectPublicKeyInfo)
}

// KeyPrintOf is the same of a key without a certificate.
func KeyPrintOf(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	return keyPrint(der), nil
}

// ParsePublicKey reads a public key (PKIX, PEM).
func ParsePublicKey(data []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("no public key in PEM (\"BEGIN PUBLIC KEY\")")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("no usable public key")
	}
	return key, nil
}

func keyPrint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// ScopedUnit is the organizational unit in certificates of operators who work with some servers
// alone. The control plane knows which.
const ScopedUnit = "scoped"

// Scoped says whether it is the certificate of such an operator.
func Scoped(cert *x509.Certificate) bool {
	return slices.Contains(cert.Subject.OrganizationalUnit, ScopedUnit)
}

// verification is what a peer's certificate has to stand up to.
type verification struct {
	roots   *x509.CertPool
	usage   x509.ExtKeyUsage
	now     time.Time
	revoked func(serial string) bool
}

// verify is the one place in which a peer's certificates are believed.
func (v verification) verify(chain []*x509.Certificate) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, errors.New("the peer shows no certificate")
	}
	leaf := chain[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: v.roots, Intermediates: pool(chain[1:]), CurrentTime: v.now,
		KeyUsages: []x509.ExtKeyUsage{v.usage},
	})
	if err != nil {
		return Identity{}, fmt.Errorf("the peer's certificate: %w", err)
	}
	id, err := FromCertificate(leaf)
	if err != nil {
		return Identity{}, fmt.Errorf("the peer's certificate: %w", err)
	}
	if v.revoked != nil && v.revoked(Serial(leaf)) {
		return Identity{}, fmt.Errorf("the certificate of %s with serial %s is revoked", id,
			Serial(leaf))
	}
	return id, nil
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}
