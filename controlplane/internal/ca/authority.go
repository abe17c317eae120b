// Package ca is the fleet's own certificate authority: it makes and keeps the root, issues
// certificates that carry an identity of package identity, turns one-time join tokens into them,
// renews and revokes them.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	rootLife = 10 * 365 * 24 * time.Hour
	backdate = identity.Backdate

	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// Authority holds the root's key and signs with it. It keeps no records: Registry does.
type Authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	now  func() time.Time
}

// AuthorityConfig says where the root is.
type AuthorityConfig struct {
	// Dir is the folder of root certificate and key. It is made, and the root with it, when it is
	// not there.
	Dir string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger hears of a root that was made; the default logger when nil.
	Logger *slog.Logger
}

// OpenAuthority reads the root, or makes one. The key comes first: whatever is interrupted is gone
// on with the next time.
func OpenAuthority(config AuthorityConfig) (*Authority, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open CA: %w", err)
	}
	a := &Authority{now: config.Now}
	if err := a.open(config); err != nil {
		return nil, fmt.Errorf("cannot open CA: %w", err)
	}
	return a, nil
}

func (a *Authority) open(config AuthorityConfig) error {
	key, err := ensureKey(filepath.Join(config.Dir, "key.pem"))
	if err != nil {
		return err
	}
	a.key = key
	path := filepath.Join(config.Dir, "ca.pem")
	if err := a.readRoot(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := a.makeRoot(path); err != nil {
		return err
	}
	config.Logger.Info("made a certificate authority", "pin", a.Pin())
	return a.readRoot(path)
}

func (a *Authority) makeRoot(path string) error {
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Understudy CA " + serial.Text(16)[:8]},
		NotBefore:    a.now().Add(-backdate), NotAfter: a.now().Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		return err
	}
	if a.root, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	if err := atomicfile.Create(path, encode(blockCertificate, der), 0o644); !errors.Is(err,
		fs.ErrExist) {
		return err
	}
	// Another process was faster, with the same key: its root is as good.
	return nil
}

func (a *Authority) readRoot(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	root, err := parseCertificate(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if !a.key.PublicKey.Equal(root.PublicKey) {
		return fmt.Errorf("%s and the key beside it do not belong together", path)
	}
	if !a.now().Before(root.NotAfter) {
		return fmt.Errorf("%s expired on %s", path, root.NotAfter.Format(time.DateOnly))
	}
	a.root, a.pem = root, data
	return nil
}

// PEM is the root's certificate.
func (a *Authority) PEM() []byte { return a.pem }

// Pin is the root's pin; see identity.Pin.
func (a *Authority) Pin() string { return identity.Pin(a.root) }

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
