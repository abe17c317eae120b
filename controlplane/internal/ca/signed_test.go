package ca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what a weak signer does
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/signer"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// hsm has keys that never leave it. The last one is for the next root.
type hsm struct {
	mu     sync.Mutex
	keys   []crypto.Signer
	signed int
	// fails is what a signature fails with; answers changes it.
	fails   error
	answers func(digest, signature []byte) []byte
	// during is called before each signature.
	during func(ctx context.Context) error
	// sizes gets those of the digests; may be nil.
	sizes map[int]bool
}

// hangs has each signature wait until free is closed; asked hears of each.
func (h *hsm) hangs() (asked <-chan struct{}, free chan<- struct{}) {
	began, end := make(chan struct{}, 8), make(chan struct{})
	h.set(func() {
		h.during = func(ctx context.Context) error {
			began <- struct{}{}
			select {
			case <-end:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return began, end
}

func (h *hsm) Public(context.Context) (crypto.PublicKey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keys[len(h.keys)-1].Public(), h.fails
}

func (h *hsm) Sign(ctx context.Context, key crypto.PublicKey, digest []byte,
	hash crypto.Hash) ([]byte, error) {
	h.mu.Lock()
	during := h.during
	h.mu.Unlock()
	if during != nil {
		if err := during(ctx); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fails != nil {
		return nil, h.fails
	}
	for _, has := range h.keys {
		if public, ok := has.Public().(*ecdsa.PublicKey); ok && public.Equal(key) {
			h.signed++
			if h.sizes != nil {
				h.sizes[len(digest)] = true
			}
			signature, err := has.Sign(rand.Reader, digest, hash)
			if h.answers != nil {
				signature = h.answers(digest, signature)
			}
			return signature, err
		}
	}
	return nil, errors.New("has no such key")
}

func (h *hsm) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *hsm) signatures() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.signed
}

func newHSM(t *testing.T) *hsm { return &hsm{keys: []crypto.Signer{newKey(t)}} }

// inSigner has the keys of roots in a signer.
func inSigner(s ca.Signer) func(*ca.AuthorityConfig) {
	return func(c *ca.AuthorityConfig) { c.NewKey, c.Signer = ca.KeyInSigner, s }
}

// unsigned says that there was no signature, as its caller is to hear it.
func unsigned(t *testing.T, what string, err error) {
	t.Helper()
	if errs.KindOf(err) != errs.Unavailable || errs.HintOf(err).Empty() ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_SIGNER_UNAVAILABLE {
		t.Errorf("%s: %v", what, err)
	}
}

// A program signs, OpenSSL here: hosts join and renew, MariaDB among them, operators too, and no
// private key of the root is in the state directory.
func TestAProgramSignsForTheFleet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := keyFile(t, newKey(t), 0o600)
	program := filepath.Join(dir, "sign")
	if err := os.WriteFile(program, []byte("key="+key+`
case $1 in
public-key) exec openssl pkey -in $key -pubout ;;
sign) exec openssl pkeyutl -sign -inkey $key -pkeyopt digest:$2 ;;
esac
`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := signer.New(signer.Config{Command: []string{"/bin/sh", program}, Limit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	e := estateOf(buildWith(t, inSigner(s)), "db-1", "db-2")
	e.check("joined")
	e.renew("db-1", true)
	e.check("renewed")
	if _, err := e.registry.CreateOperator(t.Context(), ca.OperatorRequest{Name: "ann",
		Role: identity.RoleViewer, CSR: csr(t, newKey(t)), Caller: byRoot()}); err != nil {
		t.Error(err)
	}
	if found := e.secrets(); len(found) > 0 {
		t.Errorf("a private key in %v", found)
	}
}

// The key moves from the state directory to a signer, to another key of it, and back: by
// replacements of the root that refuse nobody.
func TestTheKeyMovesToASignerAndBack(t *testing.T) {
	t.Parallel()
	e, h := newEstate(t, "db-1"), newHSM(t)
	e.reopen(inSigner(h))
	e.replaces()
	if found := e.secrets(); len(found) > 0 || h.signatures() == 0 {
		t.Errorf("private keys in %v, %d signatures", found, h.signatures())
	}
	_, err := e.rotate(false)
	if errs.KindOf(err) != errs.FailedPrecondition || errs.HintOf(err).Empty() {
		t.Errorf("a successor with the key of the root: %v", err)
	}
	h.set(func() { h.keys = append(h.keys, newKey(t)) })
	e.replaces()
	h.set(func() { h.keys = h.keys[1:] }) // the first one is destroyed
	e.renew("db-1", true)
	e.reopen(func(c *ca.AuthorityConfig) { c.Signer = h })
	e.replaces()
	e.reopen(nil)
	e.renew("db-1", true)
	e.check("back in the state directory")
}

// What a signer answers counts once it is the root's signature: nothing else becomes a certificate,
// is on record, or spends a join token.
func TestASignerThatMisbehaves(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1")
	other := newKey(t)
	weak := func(_, _ []byte) []byte {
		sum := sha1.Sum([]byte("what")) //nolint:gosec // as above
		signature, _ := h.keys[0].Sign(rand.Reader, sum[:], crypto.SHA1)
		return signature
	}
	token := e.joinFile("db-9").Token
	for what, answers := range map[string]func(digest, signature []byte) []byte{
		"nothing":   func(_, _ []byte) []byte { return nil },
		"much":      func(_, _ []byte) []byte { return make([]byte, 16<<10) },
		"a text":    func(_, _ []byte) []byte { return []byte("error: no token\n") },
		"one SHA-1": weak,
		"a newline": func(_, signature []byte) []byte { return append(signature, '\n') },
		"of another": func(digest, _ []byte) []byte {
			signature, _ := ecdsa.SignASN1(rand.Reader, other, digest)
			return signature
		},
		"the r and s": func(_, signature []byte) []byte {
			var rs struct{ R, S *big.Int }
			_, _ = asn1.Unmarshal(signature, &rs)
			return append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...)
		},
	} {
		h.set(func() { h.answers = answers })
		_, err := e.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, e.hosts["db-1"]),
			Keys: keys(t)})
		unsigned(t, what, err)
		if what == "the r and s" && !strings.Contains(err.Error(), "DER") {
			t.Errorf("%s: %v", what, err)
		}
		_, err = e.enroll(token, "db-9", keys(t))
		unsigned(t, what+", joining", err)
	}
	h.set(func() { h.answers, h.fails = nil, errors.New("the token is locked") })
	_, err := e.enroll(token, "db-9", keys(t))
	unsigned(t, "locked", err)
	if !strings.Contains(err.Error(), "the token is locked") {
		t.Errorf("the cause is missing: %v", err)
	}
	h.set(func() { h.fails = nil })
	if _, err := e.enroll(token, "db-9", keys(t)); err != nil {
		t.Errorf("the join token was spent: %v", err)
	}
	e.renew("db-1", true)
}

// While a signer hangs, the store is written, calls that need no signature are answered, and who
// may not have a certificate is refused without it.
func TestASignerThatHangsIsInNobodysWay(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1", "db-2")
	asked, free := h.hangs()
	renewed := make(chan error, 1)
	go func() {
		_, err := e.registry.Renew(context.WithoutCancel(t.Context()), ca.RenewRequest{
			Peer: peer(t, e.hosts["db-1"]), Keys: keys(t)})
		renewed <- err
	}()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := e.registry.Revoke(ctx, ca.RevokeRequest{Who: identity.Agent("db-2"),
		Reason: "stolen", Caller: byRoot()}); err != nil {
		t.Errorf("nobody is revoked meanwhile: %v", err)
	}
	if _, err := e.registry.JoinFile(ctx, "db-3"); err != nil {
		t.Errorf("no join token is made meanwhile: %v", err)
	}
	if _, err := ca.NewRotation(e.registry).Status(ctx); err != nil {
		t.Error(err)
	}
	_, err := e.registry.Renew(ctx, ca.RenewRequest{Peer: peer(t, e.hosts["db-2"]), Keys: keys(t)})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("who was revoked: %v", err)
	}
	if len(asked) > 0 {
		t.Error("the signer was asked for who was revoked")
	}
	close(free)
	if err := <-renewed; err != nil {
		t.Error(err)
	}
}

// Who is revoked while a certificate is signed does not get it: what may be issued is decided in
// the transaction that records it.
func TestARevocationWhileItIsSigned(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1")
	once := sync.Once{}
	h.set(func() {
		h.during = func(ctx context.Context) (err error) {
			once.Do(func() {
				_, err = e.registry.Revoke(ctx, ca.RevokeRequest{Who: identity.Agent("db-1"),
					Reason: "stolen", Caller: byRoot()})
			})
			return err
		}
	})
	_, err := e.registry.Renew(t.Context(), ca.RenewRequest{Peer: peer(t, e.hosts["db-1"]),
		Keys: keys(t)})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED {
		t.Errorf("got a certificate: %v", err)
	}
}

// A step of a replacement while a certificate is signed: it is of the phase in which it is
// recorded.
func TestAStepWhileItIsSigned(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1")
	h.set(func() { h.keys = append(h.keys, newKey(t)) })
	e.goes(ca.PhaseIntroduced, false)
	e.renew("db-1", true)
	var asked atomic.Bool
	h.set(func() {
		h.during = func(context.Context) (err error) {
			if asked.CompareAndSwap(false, true) { // the step has a signature of its own made
				_, err = e.rotate(false)
			}
			return err
		}
	})
	e.renew("db-1", true)
	signs := parse(t, e.read("ca", "ca.pem"))
	if parse(t, e.hosts["db-1"].Agent).CheckSignatureFrom(signs) != nil {
		t.Error("the certificate is of the root that signs no longer")
	}
	e.check("afterwards")
}

// A start asks no signer, and the control plane's own certificate is used to its end; a first start
// makes nothing without a signature, and goes on when there is one.
func TestAStartWithoutASigner(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1")
	h.set(func() { h.fails = errors.New("the network is down") })
	before := h.signatures()
	e.registry = e.open()
	e.keep()
	e.clock.forward(20 * day) // past half of its life
	err := e.registry.Keep(t.Context(), e.plane)
	unsigned(t, "kept", err)
	if !e.plane.Usable(e.registry) {
		t.Error("a valid certificate is not used")
	}
	e.clock.forward(11 * day)
	if e.plane.Usable(e.registry) {
		t.Error("a certificate that has ended is used")
	}
	if h.signatures() != before {
		t.Error("it was asked")
	}
	config := ca.AuthorityConfig{Dir: filepath.Join(t.TempDir(), "ca"), Logger: quiet(),
		NewKey: ca.KeyInSigner, Signer: h}
	_, err = ca.OpenAuthority(t.Context(), config)
	unsigned(t, "the first start", err)
	h.set(func() { h.fails = nil })
	if _, err := ca.OpenAuthority(t.Context(), config); err != nil {
		t.Error(err)
	}
}

// A weak key of a signer is no root's.
func TestAWeakKeyOfASigner(t *testing.T) {
	t.Parallel()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Logger: quiet(),
		Dir: filepath.Join(t.TempDir(), "ca"), NewKey: ca.KeyInSigner,
		Signer: &hsm{keys: []crypto.Signer{short}}})
	if err == nil || !strings.Contains(err.Error(), "RSA of 1024 bits") {
		t.Error(err)
	}
}

// A signer that is gone is late in the loops, which /healthz and the alert have, before a renewal
// needs it.
func TestASignerThatIsGoneIsNoticed(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := buildWith(t, inSigner(h))
	loops := loop.NewSet(quiet())
	registry := e.open(func(c *ca.Config) { c.Loops = loops })
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	h.set(func() { h.during = func(context.Context) error { close(asked); return nil } })
	ran := make(chan error, 1)
	go func() { ran <- registry.Run(ctx) }()
	<-asked
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	h.set(func() { h.during, h.fails = nil, errors.New("gone") })
	authority, err := ca.OpenAuthority(t.Context(), e.authority())
	if err != nil {
		t.Fatal(err)
	}
	unsigned(t, "checked", authority.CheckSigner(t.Context()))
}
