package ca

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// checkCertificates holds an intermediate and its root to what verifiers demand.
func (a intermediates) checkCertificates(given issuer) error {
	if err := a.checkGivenRoot(given.root); err != nil {
		return fmt.Errorf("its root %q: %w", given.root.Subject, err)
	}
	cert := given.intermediate
	if err := checkSigning(cert, a.config.Now()); err != nil {
		return err
	}
	if err := cert.CheckSignatureFrom(given.root); err != nil {
		return fmt.Errorf("it is not of the root %q: %w", given.root.Subject, err)
	}
	switch {
	case sameName(cert.Subject, given.root.Subject):
		return errors.New("it has the name of its root: give the root another one")
	case equalKeys(cert.PublicKey, given.root.PublicKey):
		return errors.New("it is for the key of its root: a root has a key of its own")
	case !cert.MaxPathLenZero:
		return errors.New("it has no path length of 0 (pathlen:0), so it could sign another " +
			"authority")
	case len(cert.SubjectKeyId) == 0:
		return errors.New("it has no subject key identifier: MariaDB tells it by that from the " +
			"root of before, which has its name")
	case bytes.Equal(cert.SubjectKeyId, a.now().issuers[0].cert().SubjectKeyId) &&
		!equalKeys(cert.PublicKey, a.now().issuers[0].cert().PublicKey):
		return errors.New("it has the subject key identifier of what signs now, and another key: " +
			"MariaDB tells them apart by that")
	case len(cert.AuthorityKeyId) > 0 && len(given.root.SubjectKeyId) > 0 &&
		!bytes.Equal(cert.AuthorityKeyId, given.root.SubjectKeyId):
		return errors.New("its authority key identifier is not that of the root")
	case cert.NotAfter.After(given.root.NotAfter):
		return fmt.Errorf("it ends on %s, after its root, which ends on %s",
			cert.NotAfter.Format(time.DateOnly), given.root.NotAfter.Format(time.DateOnly))
	}
	if err := checkAuthority(cert); err != nil {
		return err
	}
	return a.hasTheName(cert)
}

// checkGivenRoot holds a root to what verifiers demand of one that an intermediate is of.
func (a intermediates) checkGivenRoot(root *x509.Certificate) error {
	if err := checkSigning(root, a.config.Now()); err != nil {
		return err
	}
	former, err := a.former()
	if err != nil {
		return err
	}
	switch {
	case !selfSigned(root):
		return errors.New("it is not signed by itself")
	case root.MaxPathLenZero:
		return errors.New("its path length is 0 (pathlen:0): no intermediate of it is believed")
	case isOf(root.PublicKey, former):
		return errors.New("it was given up before: all would be believed again that it or its " +
			"intermediates have signed")
	}
	for _, one := range a.now().issuers {
		switch {
		case equalKeys(root.PublicKey, one.cert().PublicKey):
			return errors.New("it has the key that signs now: all that this has signed would be " +
				"of that root")
		case sameName(root.Subject, one.root.Subject) &&
			!equalKeys(root.PublicKey, one.root.PublicKey):
			return errors.New("a root of that name and another key is believed already: MariaDB " +
				"can take one for the other: give it another name")
		}
	}
	return nil
}

// leastLeft is how long what is installed has to be good: two steps may wait for a grace each.
const leastLeft = 90 * 24 * time.Hour

// checkSigning refuses what is believed to sign by no verifier, or not by all.
func checkSigning(cert *x509.Certificate, now time.Time) error {
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("it is no certificate of an authority (basicConstraints CA:TRUE)")
	case cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("it may not sign certificates (keyUsage keyCertSign)")
	case len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0:
		return errors.New("it is for some uses alone (extendedKeyUsage): must have none")
	case len(cert.UnhandledCriticalExtensions) > 0 || constrained(cert):
		return errors.New("it has name constraints, policies to demand, or another critical " +
			"extension that not all verifiers know")
	case now.Before(cert.NotBefore):
		return fmt.Errorf("it is not valid before %s", cert.NotBefore.UTC().Format(time.RFC3339))
	case !now.Before(cert.NotAfter):
		return fmt.Errorf("it expired on %s", cert.NotAfter.Format(time.DateOnly))
	case cert.NotAfter.Sub(now) < leastLeft:
		return fmt.Errorf("it ends on %s, in less than %d days",
			cert.NotAfter.Format(time.DateOnly), leastLeft/(24*time.Hour))
	}
	return checkRootKey(cert.PublicKey)
}

func constrained(cert *x509.Certificate) bool {
	for _, e := range cert.Extensions {
		for _, last := range []int{30, 33, 36, 54} { // names, and policies that Go asks leaves for
			if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, last}) {
				return true
			}
		}
	}
	return false
}

// sameName compares as OpenSSL does, whatever the encoding.
func sameName(a, b pkix.Name) bool {
	plain := func(name pkix.Name) string { return strings.Join(strings.Fields(name.String()), " ") }
	return strings.EqualFold(plain(a), plain(b))
}

// checkAuthority refuses an issuer by serial number: OpenSSL would look for that alone, and a root
// that was issued again has another one.
func checkAuthority(cert *x509.Certificate) error {
	var id struct {
		Key    []byte        `asn1:"optional,tag:0"`
		Issuer asn1.RawValue `asn1:"optional,tag:1"`
		Serial *big.Int      `asn1:"optional,tag:2"`
	}
	for _, e := range cert.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 35}) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &id); err != nil || id.Serial != nil ||
			len(id.Issuer.FullBytes) > 0 {
			return errors.New("its authority key identifier names a serial number " +
				"(authorityKeyIdentifier issuer): must be the key identifier alone")
		}
	}
	return nil
}

// hasTheName refuses another name than that of what signs now: accounts of MariaDB demand it.
func (a intermediates) hasTheName(cert *x509.Certificate) error {
	signs := a.now().issuers[0].cert()
	want, err := identity.OneLine(signs.Subject)
	if err != nil {
		return err
	}
	// Of more in the name than Understudy knows, MariaDB sees all.
	if name, err := identity.OneLine(cert.Subject); err != nil || name != want ||
		len(cert.Subject.Names) != len(signs.Subject.Names) {
		return fmt.Errorf("its name is %q, and the accounts of replicas demand %q: have the root "+
			"keep the name of the request", cert.Subject, want)
	}
	return nil
}
