// Package ca is the fleet's own certificate authority: it makes and keeps the root, issues
// certificates that carry an identity of package identity, turns one-time join tokens into them,
// renews and revokes them.
package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	rootLife = 10 * 365 * 24 * time.Hour
	backdate = identity.Backdate

	// rootsFile holds the roots that are believed, of which the first one signs, each behind the
	// intermediate that signs in its place, if there is one. keyFile is the key of one that signs,
	// nextKeyFile that of its successor; the public part of one that is elsewhere.
	rootsFile   = "ca.pem"
	keyFile     = "key.pem"
	nextKeyFile = "next-key.pem"
	// signedFile says that the successor has signed.
	signedFile = "next-signed"

	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
	blockPublicKey   = "PUBLIC KEY"
)

// Authority signs with the key of the root or of an intermediate, wherever that is. It keeps no
// records: Registry does.
type Authority struct {
	config AuthorityConfig

	mu      sync.RWMutex // what signs stays the same while a certificate is made
	signing signing
}

// AuthorityConfig says where the root is.
type AuthorityConfig struct {
	// Dir is the folder of root certificate and key. It is made, and the root with it, when it is
	// not there.
	Dir string
	// NewKey is where the key is of a root that is made: the first one, and each successor. A key
	// of before stays where it is.
	NewKey KeyPlace
	// KeyFiles are files with private keys (PKCS #8, PEM) outside of Dir, such as credentials of
	// systemd. A successor's key is the first one that is not the root's.
	KeyFiles []string
	// Signer has the keys whose public part alone is in Dir, unless a file has them; nil: there is
	// none.
	Signer Signer
	// ReplaceLost puts a root aside that has ended, or whose key is gone, and makes another one.
	// Nobody believes that one before joining again.
	ReplaceLost bool
	// Intermediate is a file with an intermediate that signs in place of one of the same root which
	// has ended or whose key is gone; empty for none.
	Intermediate string
	// Claim is asked before the first root is in the folder, with its pin: its error keeps the root
	// from being made. A start that was killed asks again, with the same pin. May be nil.
	Claim func(ctx context.Context, pin string) error
	// Records names the records of the first root: what its key signed for others has an issuer of
	// another name, and is not believed. Nil, and an empty one: the key alone names the root.
	Records func(ctx context.Context) (string, error)
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger hears of a root that was made; the default logger when nil.
	Logger *slog.Logger
}

// OpenAuthority reads the root, or makes one, alone against other processes. The key comes first:
// whatever is interrupted is gone on with the next time.
func OpenAuthority(ctx context.Context, config AuthorityConfig) (*Authority, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open CA: %w", err)
	}
	a := &Authority{config: config}
	release, err := folder(config.Dir).await(ctx, startsWait)
	if err != nil {
		return nil, fmt.Errorf("cannot open CA: %w", err)
	}
	defer release()
	if err := a.open(ctx); err != nil {
		return nil, fmt.Errorf("cannot open CA: %w", err)
	}
	return a, nil
}

func (a *Authority) open(ctx context.Context) error {
	if a.config.Intermediate != "" {
		if err := (intermediates{a}).replaceIntermediate(); err != nil {
			return err
		}
	}
	if a.config.ReplaceLost {
		if err := a.putAside(); err != nil {
			return err
		}
	}
	_, err := os.Stat(a.path(rootsFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = a.makeFirst(ctx)
	}
	if err != nil {
		return err
	}
	return a.load()
}

func (a *Authority) path(file string) string { return filepath.Join(a.config.Dir, file) }

// makeFirst makes the first root. Where folders are shared and locks are not, another process may
// be faster, with the same key: its root is as good.
func (a *Authority) makeFirst(ctx context.Context) error {
	key, err := a.newKey(ctx, a.path(keyFile), nil)
	if err != nil {
		return err
	}
	var records string
	if a.config.Records != nil {
		if records, err = a.config.Records(ctx); err != nil {
			return err
		}
	}
	name, err := nameOf(key.public, records)
	if err != nil {
		return err
	}
	if lost, err := a.lost(); err != nil {
		return err
	} else if lost != nil {
		name = lost.cert().Subject
	}
	root, err := a.newRoot(ctx, key, name)
	if err != nil {
		return err
	}
	if a.config.Claim != nil {
		if err := a.config.Claim(ctx, identity.Pin(root)); err != nil {
			return err
		}
	}
	err = atomicfile.Create(a.path(rootsFile), encode(blockCertificate, root.Raw), 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		a.config.Logger.Info("made a certificate authority", "pin", identity.Pin(root))
	}
	return err
}

// nameOf is the name of a root with that key: what two control planes make with one key for the
// same records, each in a folder of its own, is good for both.
func nameOf(key crypto.PublicKey, records string) (pkix.Name, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(append(der, records...))
	return pkix.Name{CommonName: "Understudy CA " + hex.EncodeToString(sum[:4])}, err
}

func (a *Authority) newRoot(ctx context.Context, key *rootKey, name pkix.Name) (*x509.Certificate,
	error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: name,
		NotBefore: a.config.Now().Add(-backdate), NotAfter: a.config.Now().Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.public,
		a.with(ctx, key))
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// now is what it signs with and believes at the moment.
func (a *Authority) now() signing {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.signing
}

// PEM are the certificates of the roots that others are to believe, that of Shown first.
func (a *Authority) PEM() []byte { return a.now().pem() }

// Shown is the certificate of the root that the control plane's own is of, and its pin; see
// identity.Pin. Who knows no more believes the control plane.
func (a *Authority) Shown() (root []byte, pin string) {
	s := a.now()
	shown := s.issuers[s.shown].root
	return encode(blockCertificate, shown.Raw), identity.Pin(shown)
}

// Pin is the pin of the root that signs, or whose intermediate does.
func (a *Authority) Pin() string { return identity.Pin(a.now().issuers[0].root) }

// Pins are those of all roots that are believed.
func (a *Authority) Pins() (pins []string) {
	for _, root := range rootsOf(a.now().issuers) {
		pins = append(pins, identity.Pin(root))
	}
	return pins
}

// Expires is when the first of the roots that are believed ends, or of their intermediates here.
func (a *Authority) Expires() time.Time {
	issuers := a.now().issuers
	end := issuers[0].expires()
	for _, one := range issuers {
		end = earliest(end, one.expires())
	}
	return end
}

// ensureKey reads a key, or makes one that only its owner can read.
func ensureKey(path string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return parseKey(path, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	err = atomicfile.Create(path, encode(blockKey, der), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return ensureKey(path)
	}
	return key, err
}

// parseKey tells nothing of the content in its errors.
func parseKey(path string, data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockKey {
		return nil, fmt.Errorf("%s holds no private key", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no usable private key", path)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a private key of another kind than ECDSA", path)
	}
	return key, nil
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockCertificate {
		return nil, errors.New("holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// newSerial is 127 random bits with the highest set, so that its text is always of one length.
func newSerial() (*big.Int, error) {
	high := new(big.Int).Lsh(big.NewInt(1), 126)
	low, err := rand.Int(rand.Reader, high)
	if err != nil {
		return nil, err
	}
	return low.Add(low, high), nil
}
