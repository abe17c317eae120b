package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// requestFile is the key of an intermediate that was requested and is not installed; the public
// part of one that is elsewhere. It stays until that key signs alone: what was installed, and given
// up before it signed, can be installed again.
const requestFile = "request-key.pem"

// intermediates are requested and installed.
type intermediates struct{ *Authority }

const blockRequest = "CERTIFICATE REQUEST"

// requestCertificate is a signing request for an intermediate, as PEM, for the same key each time
// until that has signed. It has the name of what signs now.
func (a intermediates) requestCertificate(ctx context.Context) ([]byte, error) {
	signs := a.now().issuers[0].cert()
	key, err := a.requestedKey(ctx, signs)
	if err != nil {
		return nil, err
	}
	extensions, err := requestedExtensions(key.public)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		RawSubject: signs.RawSubject, ExtraExtensions: extensions}, a.with(ctx, key))
	if err != nil {
		return nil, err
	}
	return encode(blockRequest, der), nil
}

// requestedKey is the key of the file, or one that is made. A key that has signed signs no more.
func (a intermediates) requestedKey(ctx context.Context,
	signs *x509.Certificate) (*rootKey, error) {
	public, err := a.publicIn(requestFile)
	if err != nil {
		return nil, err
	}
	former, err := a.former()
	if err != nil {
		return nil, err
	}
	if public != nil && isOf(public, append(former, signs.PublicKey)) {
		if err := remove(a.path(requestFile)); err != nil {
			return nil, err
		}
	}
	return a.newKey(ctx, a.path(requestFile), signs.PublicKey)
}

// publicIn is the public part of the key in a file of the folder; nil without one.
func (a intermediates) publicIn(file string) (crypto.PublicKey, error) {
	data, err := os.ReadFile(a.path(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	if holdsPublicKey(data) {
		return parsePublicKey(data)
	}
	key, err := parseKey(a.path(file), data)
	if err != nil {
		return nil, err
	}
	return &key.PublicKey, nil
}

// forgetRequested removes the requested key once it signs alone.
func (a intermediates) forgetRequested(signs *rootKey) error {
	public, err := a.publicIn(requestFile)
	if err != nil || public == nil || !equalKeys(signs.public, public) {
		return err
	}
	return remove(a.path(requestFile))
}

// requestedExtensions are those that an intermediate has to have, for who copies them.
func requestedExtensions(key crypto.PublicKey) (all []pkix.Extension, err error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	for _, e := range []struct {
		id       asn1.ObjectIdentifier
		critical bool
		value    any
	}{
		{asn1.ObjectIdentifier{2, 5, 29, 19}, true, struct {
			CA     bool
			Length int
		}{true, 0}},
		// keyCertSign and cRLSign
		{asn1.ObjectIdentifier{2, 5, 29, 15}, true, asn1.BitString{Bytes: []byte{0x06},
			BitLength: 7}},
		{asn1.ObjectIdentifier{2, 5, 29, 14}, false, sum[:20]},
	} {
		value, err := asn1.Marshal(e.value)
		if err != nil {
			return nil, err
		}
		all = append(all, pkix.Extension{Id: e.id, Critical: e.critical, Value: value})
	}
	return all, nil
}

// intermediateIn is the intermediate of a PEM, with its root: the other certificate in it, or one
// that is believed already. What verifiers of any make would refuse is refused here, in words.
func (a intermediates) intermediateIn(data []byte) (issuer, error) {
	given, err := a.parseIntermediate(data)
	if err == nil {
		err = a.checkIntermediate(given)
	}
	if err != nil {
		return issuer{}, errs.New(errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
			"the intermediate cannot be used", errs.Wrap(err),
			errs.WithHint("request one, have its root sign that as docs/ca.md says, and install "+
				"what it printed with the root behind it", errs.Call("RequestIntermediate")))
	}
	return given, nil
}

func (a intermediates) parseIntermediate(data []byte) (given issuer, err error) {
	certs, err := parseCertificates(data)
	if err != nil {
		return given, fmt.Errorf("the file %w", err)
	}
	if len(bytes.TrimSpace(data)) == 0 || len(certs) == 0 {
		return given, errors.New("the file holds no certificate in PEM")
	}
	if len(certs) > 2 {
		return given, fmt.Errorf("the file holds %d certificates, must be the intermediate and "+
			"its root: an intermediate of an intermediate cannot be used", len(certs))
	}
	for _, cert := range certs {
		switch {
		case isRoot(cert) && given.root == nil:
			given.root = cert
		case !isRoot(cert) && given.intermediate == nil:
			given.intermediate = cert
		default:
			return given, errors.New("the file must hold one intermediate, and its root, which " +
				"is signed by itself")
		}
	}
	if given.intermediate == nil {
		return given, errors.New("the file holds a root alone, and no intermediate")
	}
	for _, root := range rootsOf(a.now().issuers) {
		if given.root == nil && given.intermediate.CheckSignatureFrom(root) == nil {
			given.root = root
		}
	}
	if given.root == nil {
		return given, fmt.Errorf("its root %q is neither in the file nor believed already: append "+
			"the certificate of the root to the file", given.intermediate.Issuer)
	}
	return given, nil
}

// isRoot says whether it is signed by itself, whatever else it is.
func isRoot(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer) && cert.CheckSignature(
		cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

func (a intermediates) checkIntermediate(given issuer) error {
	if err := a.checkCertificates(given); err != nil {
		return err
	}
	return a.hasTheKey(given.intermediate)
}

// hasTheKey refuses another key than the one that was requested.
func (a intermediates) hasTheKey(cert *x509.Certificate) error {
	public, err := a.publicIn(requestFile)
	if err != nil {
		return err
	}
	former, err := a.former()
	if err != nil {
		return err
	}
	signs := a.now().issuers[0].cert()
	switch {
	case equalKeys(cert.PublicKey, signs.PublicKey):
		return errors.New("it is for the key that signs now: an intermediate has another one")
	case public == nil || !equalKeys(public, cert.PublicKey):
		return errors.New("it is for another key than that of the last request")
	case isOf(public, former):
		return errors.New("its key has signed before, and was given up")
	}
	return nil
}

// introduceGiven makes an intermediate of another root, or another one of the same, the successor.
// The requested key is copied: it is in its own file until the successor is in that of the roots.
func (a intermediates) introduceGiven(given issuer) func(context.Context, time.Time) error {
	return func(_ context.Context, since time.Time) error {
		old := a.now().issuers[0]
		if err := a.forgetSuccessor(); err != nil {
			return err
		}
		key, err := os.ReadFile(a.path(requestFile))
		if err != nil {
			return err
		}
		if err := atomicfile.Write(a.path(nextKeyFile), key, 0o600); err != nil {
			return err
		}
		return a.become(since, old, given)
	}
}

// heldKey is the requested key, as it would sign.
func (a intermediates) heldKey(given issuer) (*rootKey, error) {
	key, err := a.readRootKey(a.path(requestFile), []*x509.Certificate{given.cert()})
	if err == nil && !belong(key, given.cert()) {
		err = errors.New("the requested key is not that of the intermediate")
	}
	return key, err
}
