package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Signer has keys of roots that this program never sees. It may be slow, hang, or be away, so
// nothing waits for it but who needs a signature.
type Signer interface {
	// Public is the key that a root which is made now is to have.
	Public(ctx context.Context) (crypto.PublicKey, error)
	// Sign signs a digest with that key: ASN.1 for ECDSA, PKCS #1 v1.5 for RSA.
	Sign(ctx context.Context, key crypto.PublicKey, digest []byte,
		hash crypto.Hash) ([]byte, error)
}

// bound is a signer's key for the time of one call.
type bound struct {
	ctx    context.Context //nolint:containedctx // crypto.Signer takes none
	signer Signer
	public crypto.PublicKey
}

// Public is the key.
func (b bound) Public() crypto.PublicKey { return b.public }

// Sign has a digest signed, and verifies what it gets. UNAVAILABLE with SIGNER_UNAVAILABLE, of a
// *NoSignature.
func (b bound) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := b.signer.Sign(b.ctx, b.public, digest, opts.HashFunc())
	if err == nil {
		err = verify(b.public, digest, opts.HashFunc(), signature)
	}
	if err == nil {
		return signature, nil
	}
	return nil, unsigned(b.ctx, err)
}

// NoSignature is why a signer gave none.
type NoSignature struct{ cause error }

// Error is the cause.
func (n *NoSignature) Error() string { return n.cause.Error() }

// Unwrap is the cause.
func (n *NoSignature) Unwrap() error { return n.cause }

// unsigned is the error of who needs a signature and gets none.
func unsigned(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return err
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_SIGNER_UNAVAILABLE,
		"the signer of the certificate authority gives no signature", errs.Wrap(&NoSignature{err}),
		errs.Retry(10*time.Second),
		errs.WithHint("try again; if it stays, run the command of ca_signer by hand on the "+
			"control plane's host, with sign or public-key at its end, as docs/ca.md says"))
}

// verify refuses a signature that is not the key's.
func verify(key crypto.PublicKey, digest []byte, hash crypto.Hash, signature []byte) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, digest, signature) {
			return nil
		}
		if size := (key.Params().BitSize + 7) / 8; len(signature) == 2*size {
			return errors.New("its signature is not in ASN.1 (DER), as if r and s stood side by " +
				"side: have it print DER, as pkcs11-tool does with --signature-format openssl")
		}
	case *rsa.PublicKey:
		if rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil {
			return nil
		}
	}
	return fmt.Errorf("its signature (%d bytes) is not one of the root's key over the digest that "+
		"it got: have it sign with that key, the digest as it is, and print the signature as it "+
		"is", len(signature))
}

// sample is what a signer that is checked signs: no digest of a certificate, by the hash that those
// of the key have. Some take no other one.
func sample(key crypto.PublicKey, now time.Time) ([]byte, crypto.Hash) {
	text := []byte("understudy: the signer is there, " + now.UTC().String())
	if wide, ok := key.(*ecdsa.PublicKey); ok && wide.Curve == elliptic.P384() {
		sum := sha512.Sum384(text)
		return sum[:], crypto.SHA384
	}
	sum := sha256.Sum256(text)
	return sum[:], crypto.SHA256
}

// away are the keys of the roots that a signer has.
func (a *Authority) away() (keys []*rootKey) {
	for _, key := range a.now().keys {
		if key != nil && key.signer == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// CheckSigner has the signer sign a sample with each root's key that it has: it says that it is
// gone before a renewal needs it.
func (a *Authority) CheckSigner(ctx context.Context) error {
	for _, key := range a.away() {
		if err := a.tryKey(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// tryKey has a sample signed with a key that the signer has.
func (a *Authority) tryKey(ctx context.Context, key *rootKey) error {
	if key.signer != nil {
		return nil
	}
	digest, hash := sample(key.public, a.config.Now())
	_, err := a.with(ctx, key).Sign(nil, digest, hash)
	return err
}

// checking has the signer looked at again and again.
func checking() loop.Spec {
	return loop.Spec{Name: "check the signer of the certificate authority", Every: 5 * time.Minute,
		Limit: 2 * time.Minute, LateAfter: 15 * time.Minute,
		Means: "no certificate is issued or renewed: those of agents and operators may expire"}
}

// mostSigned is how often one call is tried that has certificates signed: for the line of each of
// its two, for each, and again where another call was faster.
const mostSigned = 8

// errUnsigned ends a transaction that needs a signature first.
var errUnsigned = errors.New("a certificate has to be signed first")

// issuing are the certificates of one call. What a signer signs is signed outside of the
// transaction that records it, which nobody else could write beside: the transaction is run up to
// where it needs the certificate, and from its begin again with it.
type issuing struct {
	*Authority
	made []signedRequest
	want request
	// leave gives up the lines of the signer that the call is in, by name.
	leave map[string]func()
}

type signedRequest struct {
	request request
	by      signing
	issued  Issued
}

// issue is the certificate, in the transaction that records it.
func (i *issuing) issue(ctx context.Context, want request) (Issued, error) {
	s := i.now()
	if s.keys[s.signs(want)].signer != nil {
		return i.Authority.issue(ctx, want)
	}
	for _, m := range i.made {
		if m.by.same(s) && reflect.DeepEqual(m.request, want) {
			return m.issued, nil
		}
	}
	i.want = want
	return Issued{}, errUnsigned
}

// issuing runs a transaction that issues certificates, while no other does.
func (r *Registry) issuing(ctx context.Context, what string,
	fn func(ctx context.Context, records Records, certs *issuing) error) error {
	certs := &issuing{Authority: r.config.Authority, leave: map[string]func(){}}
	defer certs.end()
	for range mostSigned {
		err := r.alone(ctx, what, func(ctx context.Context, records Records) error {
			return fn(ctx, records, certs)
		})
		if !errors.Is(err, errUnsigned) {
			return err
		}
		if err := certs.sign(ctx, &r.signing); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return othersFaster(what)
}

// sign has the certificate signed that the call needs, in the line of whose it is: from then on
// until the call ends, so that what is signed is still right when it is recorded.
func (i *issuing) sign(ctx context.Context, l *lines) error {
	if name := i.want.recordedAs; i.leave[name] == nil {
		leave, err := l.enter(ctx, name)
		if err != nil {
			return unsigned(ctx, err)
		}
		i.leave[name] = leave
		return nil // others of the name may have been recorded meanwhile
	}
	m := signedRequest{request: i.want, by: i.now()}
	var err error
	if m.issued, err = i.Authority.issue(ctx, i.want); err == nil {
		i.made = append(i.made, m)
	}
	return err
}

func (i *issuing) end() {
	for _, leave := range i.leave {
		leave()
	}
}

func othersFaster(what string) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
		what+": others were faster all the time", errs.Retry(time.Second),
		errs.WithHint("try again"))
}

// signs is which root signs a certificate.
func (s signing) signs(want request) int {
	if want.identity.Role == identity.RoleControlPlane {
		return s.shown
	}
	return 0
}

// same says whether certificates are issued alike.
func (s signing) same(other signing) bool {
	return s.phase == other.phase && s.since.Equal(other.since) && s.shown == other.shown &&
		s.issuers[0].same(other.issuers[0])
}
