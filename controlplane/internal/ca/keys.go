package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/ownfile"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KeyPlace is where the key of a root is.
type KeyPlace string

// The places.
const (
	// KeyInStateDir is a file of the authority's folder; the zero KeyPlace is it.
	KeyInStateDir KeyPlace = "state_dir"
	// KeyInFile is a file elsewhere, such as a credential of systemd.
	KeyInFile KeyPlace = "file"
	// KeyInSigner is a signer.
	KeyInSigner KeyPlace = "signer"
)

// rootKey is the key of a root. Where it is not in the authority's folder, its file there has the
// public part.
type rootKey struct {
	public crypto.PublicKey
	signer crypto.Signer // nil when the authority's Signer has it
	inFile bool          // one of KeyFiles
}

func (k *rootKey) place() KeyPlace {
	switch {
	case k.signer == nil:
		return KeyInSigner
	case k.inFile:
		return KeyInFile
	}
	return KeyInStateDir
}

// with is the key for the time of a call.
func (a *Authority) with(ctx context.Context, key *rootKey) crypto.Signer {
	if key.signer != nil {
		return key.signer
	}
	return bound{ctx: ctx, signer: a.config.Signer, public: key.public}
}

// belong says whether the key is that of the root; there may be none.
func belong(key *rootKey, root *x509.Certificate) bool {
	return key != nil && equalKeys(key.public, root.PublicKey)
}

func equalKeys(a, b crypto.PublicKey) bool {
	key, ok := a.(interface {
		Equal(other crypto.PublicKey) bool
	})
	return ok && key.Equal(b)
}

func holdsPublicKey(data []byte) bool {
	block, _ := pem.Decode(data)
	return block != nil && block.Type == blockPublicKey
}

// readRootKey reads a file of the folder: a key, or the public part of one that is elsewhere. What
// is of none of the roots, as an interrupted step leaves it, needs no key: nil.
func (a *Authority) readRootKey(path string, roots []*x509.Certificate) (*rootKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !holdsPublicKey(data) {
		key, err := parseKey(path, data)
		if err != nil {
			return nil, err
		}
		return &rootKey{public: &key.PublicKey, signer: key}, nil
	}
	public, err := parsePublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !slices.ContainsFunc(roots, func(root *x509.Certificate) bool {
		return equalKeys(public, root.PublicKey)
	}) {
		return nil, nil //nolint:nilnil // none is no error
	}
	return a.elsewhere(path, public)
}

// elsewhere has the key whose public part the file has.
func (a *Authority) elsewhere(path string, public crypto.PublicKey) (*rootKey, error) {
	for _, file := range a.config.KeyFiles {
		signer, err := readKeyFile(file)
		if err != nil {
			return nil, err
		}
		if equalKeys(signer.Public(), public) {
			return &rootKey{public: public, signer: signer, inFile: true}, nil
		}
	}
	if a.config.Signer != nil { // which is not asked: it may be away for a while
		return &rootKey{public: public}, nil
	}
	return nil, fmt.Errorf("the key to %s is in none of the files of ca_key_files, and no "+
		"ca_signer has it: set what has it", path)
}

// mostKeyFile is how many bytes a file with a key may have.
const mostKeyFile = 64 << 10

// readKeyFile reads a private key (PKCS #8, PEM) that the operator made. Who could put another one
// in its place would be the CA. Its errors tell nothing of the content.
func readKeyFile(path string) (crypto.Signer, error) {
	data, err := ownfile.Read(path, mostKeyFile)
	if err != nil {
		return nil, notThere(err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockKey {
		return nil, fmt.Errorf("%s holds no private key in PKCS #8 (\"BEGIN PRIVATE KEY\"): make "+
			"one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no usable private key", path)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds a key that does not sign", path)
	}
	if err := checkRootKey(key.Public()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// notThere keeps a key file that is away for a moment from counting as a key that is lost.
func notThere(err error) error {
	return errors.New("cannot read a file of ca_key_files: " + err.Error())
}

// parsePublicKey reads a public key (PKIX, PEM) that may be one of a root.
func parsePublicKey(data []byte) (crypto.PublicKey, error) {
	key, err := identity.ParsePublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("holds %w", err)
	}
	return key, checkRootKey(key)
}

// checkRootKey refuses what is weak, and what signs something else than a digest.
func checkRootKey(key crypto.PublicKey) error {
	const want = "must be ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits"
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("the key is ECDSA %s: %s", key.Curve.Params().Name, want)
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 4096 {
			return fmt.Errorf("the key is RSA of %d bits: %s", bits, want)
		}
		return nil
	}
	return fmt.Errorf("the key is of another kind: %s", want)
}

// newKey makes the key of a root, or takes it from where new ones are, and leaves in the file what
// belongs there. It is another one than that of the root there is, which may be nil.
func (a *Authority) newKey(ctx context.Context, path string, old crypto.PublicKey) (*rootKey,
	error) {
	if a.config.NewKey == "" || a.config.NewKey == KeyInStateDir {
		if there, err := os.ReadFile(path); err == nil && holdsPublicKey(there) {
			if err := remove(path); err != nil { // an interrupted start left it, no root is of it
				return nil, err
			}
		}
		key, err := ensureKey(path)
		if err != nil {
			return nil, err
		}
		return &rootKey{public: &key.PublicKey, signer: key}, nil
	}
	public, err := a.choose(ctx, old)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	data := encode(blockPublicKey, der)
	if err := atomicfile.Create(path, data, 0o644); errors.Is(err, fs.ErrExist) {
		err = takeOver(path, data)
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return a.elsewhere(path, public)
}

// choose is the public part of a key elsewhere that is neither the old one nor one of before.
func (a *Authority) choose(ctx context.Context, old crypto.PublicKey) (crypto.PublicKey, error) {
	taken, err := a.former()
	if err != nil {
		return nil, err
	}
	if old != nil {
		taken = append(taken, old)
	}
	if a.config.NewKey == KeyInSigner {
		return a.chooseOfSigner(ctx, taken)
	}
	for _, file := range a.config.KeyFiles {
		key, err := readKeyFile(file)
		if err != nil {
			return nil, err
		}
		if !isOf(key.Public(), taken) {
			return key.Public(), nil
		}
	}
	return nil, errors.New("no file of ca_key_files has another key than the root's and those of " +
		"roots of before: add one, and start the control plane again")
}

func isOf(key crypto.PublicKey, keys []crypto.PublicKey) bool {
	return slices.ContainsFunc(keys, func(one crypto.PublicKey) bool { return equalKeys(key, one) })
}

func (a *Authority) chooseOfSigner(ctx context.Context,
	taken []crypto.PublicKey) (crypto.PublicKey, error) {
	if a.config.Signer == nil {
		return nil, errors.New("there is no signer: set ca_signer")
	}
	key, err := a.config.Signer.Public(ctx)
	if err != nil {
		return nil, unsigned(ctx, err)
	}
	if err := checkRootKey(key); err != nil {
		return nil, fmt.Errorf("the signer's key cannot be that of a root: %w", err)
	}
	if isOf(key, taken) {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_INVALID_FIELD,
			"the signer has no other key than the root's, or that of a root of before, for the "+
				"successor",
			errs.WithHint("have the command of ca_signer print another key for public-key, and "+
				"sign with the one that it is asked for"))
	}
	return key, nil
}

// takeOver goes on with what an interrupted start has left: the public part of the key, or of one
// that no root is of. A private key without a root may be the only one there is.
func takeOver(path string, data []byte) error {
	there, err := os.ReadFile(path)
	if err != nil || bytes.Equal(there, data) {
		return err
	}
	if !holdsPublicKey(there) {
		return fmt.Errorf("%s has a key, no certificate is beside it, and ca_key says that the "+
			"key is elsewhere: restore the folder from a backup, or move the file away", path)
	}
	return atomicfile.Write(path, data, 0o644)
}

// formerKeys has the public parts of the keys of roots that went, PEM after PEM.
const formerKeys = "former-keys.pem"

// former are the keys of roots that went. None of them becomes a root's again: with its name, which
// stays, all that it has signed would be believed again.
func (a *Authority) former() (keys []crypto.PublicKey, err error) {
	data, err := os.ReadFile(a.path(formerKeys))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		key, err := identity.ParsePublicKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, fmt.Errorf("%s holds %w", a.path(formerKeys), err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// noteFormer keeps keys that are about to go from signing again.
func (a *Authority) noteFormer(gone []crypto.PublicKey) error {
	known, err := a.former()
	if err != nil {
		return err
	}
	gone = slices.DeleteFunc(gone, func(key crypto.PublicKey) bool { return isOf(key, known) })
	if len(gone) == 0 {
		return nil
	}
	var data []byte
	for _, key := range append(known, gone...) {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return err
		}
		data = append(data, encode(blockPublicKey, der)...)
	}
	return atomicfile.Write(a.path(formerKeys), data, 0o644)
}
