package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// issuer is what signs: a root, or an intermediate of a root whose key is not here.
type issuer struct {
	root *x509.Certificate
	// intermediate is nil where the root itself signs.
	intermediate *x509.Certificate
}

// cert is what the key beside it is of, and what a certificate names as its issuer.
func (i issuer) cert() *x509.Certificate {
	if i.intermediate != nil {
		return i.intermediate
	}
	return i.root
}

// expires is when it signs no more.
func (i issuer) expires() time.Time { return earliest(i.root.NotAfter, i.cert().NotAfter) }

// begins is since when it is good.
func (i issuer) begins() time.Time {
	if i.cert().NotBefore.Before(i.root.NotBefore) {
		return i.root.NotBefore
	}
	return i.cert().NotBefore
}

func (i issuer) same(other issuer) bool {
	return i.root.Equal(other.root) && i.cert().Equal(other.cert())
}

// chain is what stands behind a certificate that it signed: what leads to the root, as PEM.
func (i issuer) chain() []byte {
	if i.intermediate == nil {
		return nil
	}
	return encode(blockCertificate, i.intermediate.Raw)
}

// pem is how it stands in the file of the authority: an intermediate right before its root.
func (i issuer) pem() []byte {
	return append(i.chain(), encode(blockCertificate, i.root.Raw)...)
}

func (i issuer) what() string {
	if i.intermediate != nil {
		return "intermediate"
	}
	return "root"
}

// signed is nil for a certificate of it.
func (i issuer) signed(cert *x509.Certificate) error { return cert.CheckSignatureFrom(i.cert()) }

// gone are the keys that are given up with the one that does not sign. The root of an intermediate
// is, unless that was tried alone, or the one that signs is of it too.
func (s signing) gone() []crypto.PublicKey {
	left := s.issuers[1]
	keys := []crypto.PublicKey{left.cert().PublicKey}
	if s.phase == PhaseRenewing && !sameRoot(left, s.issuers[0]) {
		keys = append(keys, left.root.PublicKey)
	}
	return keys
}

// sameRoot says whether two are of one root, which may have been issued again for its key.
func sameRoot(a, b issuer) bool { return equalKeys(a.root.PublicKey, b.root.PublicKey) }

// signers are the certificates that the keys of the folder are of.
func signers(issuers []issuer) (certs []*x509.Certificate) {
	for _, one := range issuers {
		certs = append(certs, one.cert())
	}
	return certs
}

// rootsOf are the roots to believe, each once.
func rootsOf(issuers []issuer) (roots []*x509.Certificate) {
	for _, one := range issuers {
		if !slices.ContainsFunc(roots, one.root.Equal) {
			roots = append(roots, one.root)
		}
	}
	return roots
}

// selfSigned asks for the name too: an intermediate for the key of its root is no root.
func selfSigned(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(cert) == nil
}

// parseIssuers reads what signs and the one beside it.
func parseIssuers(data []byte) (issuers []issuer, err error) {
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, err
	}
	for len(certs) > 0 {
		one := issuer{root: certs[0]}
		if !selfSigned(one.root) {
			if len(certs) == 1 || !selfSigned(certs[1]) {
				return nil, fmt.Errorf("holds the certificate %s, and not its root right after it",
					one.root.Subject)
			}
			if err := one.root.CheckSignatureFrom(certs[1]); err != nil {
				return nil, fmt.Errorf("holds the certificate %s, which the one after it did not "+
					"sign: %w", one.root.Subject, err)
			}
			one = issuer{root: certs[1], intermediate: certs[0]}
			certs = certs[1:]
		}
		issuers, certs = append(issuers, one), certs[1:]
	}
	switch {
	case len(issuers) == 0:
		return nil, errors.New("holds no certificate")
	case len(issuers) > 2:
		return nil, fmt.Errorf("holds %d roots, must be a root and its successor at most",
			len(issuers))
	}
	return issuers, nil
}

func parseCertificates(data []byte) (certs []*x509.Certificate, err error) {
	block, rest := pem.Decode(data)
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != blockCertificate {
			return nil, errors.New("holds something else than certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) { // what a full disk, or a bad one, has left
		return nil, fmt.Errorf("holds a certificate that is cut off, behind %d", len(certs))
	}
	return certs, nil
}
