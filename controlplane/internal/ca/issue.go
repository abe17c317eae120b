package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// request is a certificate to be issued.
type request struct {
	recordedAs string
	identity   identity.Identity // the zero Identity for a certificate without one
	subject    pkix.Name
	names      []string // DNS names and IP addresses
	usage      []x509.ExtKeyUsage
	life       time.Duration
	key        crypto.PublicKey
	after      time.Time // of others that it is newer than
	until      time.Time // when it ends at the latest; zero for its life alone
}

// Issued is a certificate with its record.
type Issued struct {
	// PEM is the certificate, and behind it what leads to a root.
	PEM []byte
	// Record is what is known of it.
	Record inventory.Certificate
}

// both is the usage of whoever serves and calls.
func both() []x509.ExtKeyUsage {
	return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
}

func peerRequest(id identity.Identity, names []string, life time.Duration,
	key crypto.PublicKey) request {
	r := request{recordedAs: id.String(), identity: id, subject: pkix.Name{CommonName: id.Name},
		names: names, usage: both(), life: life, key: key}
	switch id.Role {
	case identity.RoleViewer, identity.RoleOperator, identity.RoleAdmin:
		r.usage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case identity.RoleControlPlane:
		r.subject.CommonName = string(id.Role)
	}
	return r
}

func mariadbRequest(mariadb identity.MariaDB, names []string, life time.Duration,
	key crypto.PublicKey) request {
	return request{recordedAs: inventory.MariaDBIdentity(mariadb.Server),
		subject: mariadb.Subject(), names: names, life: life, key: key, usage: both()}
}

// issue signs a certificate. It is nobody's until its record is kept. What is issued after another
// root signs says so by its time: one that was signed meanwhile is signed again.
func (a *Authority) issue(ctx context.Context, r request) (Issued, error) {
	for range mostSigned {
		s := a.now()
		issued, err := a.issueBy(ctx, s, r)
		if err != nil {
			return Issued{}, fmt.Errorf("cannot issue a certificate for %s: %w", r.recordedAs, err)
		}
		if a.now().same(s) {
			return issued, nil
		}
	}
	return Issued{}, othersFaster("cannot issue a certificate for " + r.recordedAs)
}

func (a *Authority) issueBy(ctx context.Context, s signing, r request) (Issued, error) {
	serial, err := newSerial()
	if err != nil {
		return Issued{}, err
	}
	signs, now, life := s.signs(r), s.stamp(a.config.Now(), r.after), r.life
	if !r.until.IsZero() {
		life = min(life, r.until.Sub(now))
	}
	by := s.issuers[signs]
	life = min(life, by.expires().Sub(now))
	if life <= 0 {
		return Issued{}, errors.New("it would have ended before it was signed")
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: r.subject, NotBefore: now.Add(-min(backdate, life)),
		NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: r.usage, BasicConstraintsValid: true,
	}
	if r.identity != (identity.Identity{}) {
		template.URIs = []*url.URL{r.identity.URI()}
	}
	addNames(template, r.names)
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert(), r.key,
		a.with(ctx, s.keys[signs]))
	if err != nil {
		return Issued{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Issued{}, err
	}
	return Issued{PEM: append(encode(blockCertificate, der), by.chain()...),
		Record: recordOf(cert, r.recordedAs)}, nil
}

// maxAhead is how far a certificate's time follows a clock that was ahead: it is backdated by more,
// and so is good at once.
const maxAhead = backdate / 2

// stamp is when a certificate is issued, as far as others are compared with it: after those that
// are older, and in the phase of now, also where the clock has been set back since.
func (s signing) stamp(now, after time.Time) time.Time {
	at := now
	if least := after.Add(time.Second); !after.IsZero() && least.After(at) { // they know seconds
		at = least
	}
	if s.phase != PhaseSingle && s.since.After(at) {
		at = s.since
	}
	if at.Sub(now) > maxAhead {
		return now
	}
	return at
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func addNames(template *x509.Certificate, names []string) {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
}

// RequestKey is the key of a signing request (DER), which its sender has. INVALID_ARGUMENT with
// CSR_INVALID.
func RequestKey(field string, der []byte) (*ecdsa.PublicKey, error) {
	return signingRequest(field, der)
}

// signingRequest reads the key out of a CSR and checks that its sender has it. Nothing else in it
// counts.
func signingRequest(field string, der []byte) (*ecdsa.PublicKey, error) {
	key, err := csrKey(der)
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_CSR_INVALID,
			"signing request refused",
			errs.Wrap(err), errs.Field(field, err.Error()),
			errs.WithHint("send a PKCS #10 request in DER for an ECDSA P-256 key, signed with it"))
	}
	return key, nil
}

const maxCSR = 16 << 10

func csrKey(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) == 0 || len(der) > maxCSR {
		return nil, fmt.Errorf("must be 1 to %d bytes, is %d", maxCSR, len(der))
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errors.New("is no PKCS #10 request in DER")
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
		return nil, errors.New("is for a key of a kind other than ECDSA P-256 and P-384")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("is not signed with its own key")
	}
	return key, nil
}
