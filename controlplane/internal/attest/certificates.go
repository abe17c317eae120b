package attest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// leastBits keeps out the certificate of Amazon's older signature, whose key has 1024.
const leastBits = 2048

// Certificates reads the certificates of a PEM file that are to be believed while they are valid.
func Certificates(file []byte) (all []*x509.Certificate, err error) {
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a block %.40q, and must hold certificates alone",
				block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		key, isRSA := cert.PublicKey.(*rsa.PublicKey)
		if !isRSA || key.N.BitLen() < leastBits {
			return nil, fmt.Errorf("certificate %d has a key of the kind %s, and must have one of "+
				"RSA with %d bits or more", len(all)+1, cert.PublicKeyAlgorithm, leastBits)
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("it holds no certificate")
	}
	return all, nil
}

// SomeValid says whether one of them can be believed at that time.
func SomeValid(all []*x509.Certificate, at time.Time) bool {
	return slices.ContainsFunc(all, func(c *x509.Certificate) bool { return validAt(c, at) })
}

func validAt(cert *x509.Certificate, at time.Time) bool {
	return !at.Before(cert.NotBefore) && !at.After(cert.NotAfter)
}
