package ca

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Phase is how far the replacement of the root is.
type Phase string

// The phases. Each begins with one write of the file with the roots, in one step, and so survives
// whatever ends the process.
const (
	// PhaseSingle has one root.
	PhaseSingle Phase = "single"
	// PhaseIntroduced has a successor that everybody is to believe before it signs.
	PhaseIntroduced Phase = "introduced"
	// PhaseRenewing has the successor sign, while what the old root signed is believed.
	PhaseRenewing Phase = "renewing"
)

// signing is what an authority signs with, and what it believes.
type signing struct {
	roots []*x509.Certificate // the first one signs
	keys  []*rootKey          // of each
	// shown is the root of what the control plane shows itself: the old one, until it goes. So who
	// missed the successor still believes the control plane, and hears of it.
	shown int
	phase Phase
	// since is when the phase began, rounded up: certificates know seconds.
	since time.Time
	// next is true when the successor signs.
	next bool
}

// pem is what others are to believe, the root first that the control plane shows.
func (s signing) pem() (data []byte) {
	data = encode(blockCertificate, s.roots[s.shown].Raw)
	for i, root := range s.roots {
		if i != s.shown {
			data = append(data, encode(blockCertificate, root.Raw)...)
		}
	}
	return data
}

// load reads what is there, and completes a replacement whose last write was made.
func (a *Authority) load() error {
	s, err := a.read()
	if err != nil {
		return err
	}
	if s.phase == PhaseSingle && s.next {
		if err := os.Rename(a.path(nextKeyFile), a.path(keyFile)); err != nil {
			return err
		}
		if err := atomicfile.SyncDir(a.config.Dir); err != nil {
			return err
		}
	}
	if s.phase == PhaseSingle { // a key that is left here is of no root
		for _, left := range []string{signedFile, nextKeyFile} {
			if err := remove(a.path(left)); err != nil {
				return err
			}
		}
	}
	a.signing = s
	return nil
}

func (a *Authority) read() (s signing, err error) {
	path := a.path(rootsFile)
	info, err := os.Stat(path)
	if err != nil {
		return s, err
	}
	s.since = info.ModTime().Truncate(time.Second).Add(time.Second)
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if s.roots, err = parseRoots(data); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	key, next, err := a.keys(s.roots)
	if err != nil {
		return s, err
	}
	s.keys, s.next = []*rootKey{key, next}, belong(next, s.roots[0])
	if s.next {
		s.keys = []*rootKey{next, key}
	}
	switch other := s.roots[len(s.roots)-1]; {
	case !s.next && !belong(key, s.roots[0]):
		return s, fmt.Errorf("%w: %s and the key beside it do not belong together: restore the "+
			"folder from a backup", errLost, path)
	case len(s.roots) == 1:
		s.phase = PhaseSingle
	case !s.next && belong(next, other):
		s.phase = PhaseIntroduced
	case s.next && belong(key, other):
		s.phase, s.shown = PhaseRenewing, 1
	default:
		return s, fmt.Errorf("%s has a second certificate, and no key beside it is its", path)
	}
	if !a.config.Now().Before(s.roots[0].NotAfter) {
		return s, fmt.Errorf("%w: %s expired on %s", errLost, path,
			s.roots[0].NotAfter.Format(time.DateOnly))
	}
	return s, nil
}

// errLost says that a root signs no more, whatever is done on this host.
var errLost = errors.New("the root is lost")

// aside is what the names of files of a root end in that was lost.
const aside = ".lost"

// putAside renames the files of a root that signs no more: the keys first, so that it is known as
// lost until the last one has its new name.
func (a *Authority) putAside() error {
	data, err := os.ReadFile(a.path(rootsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	roots, err := parseRoots(data)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path(rootsFile), err)
	}
	_, err = a.read()
	if !errors.Is(err, errLost) && !errors.Is(err, fs.ErrNotExist) {
		return nil // nothing is lost, or what is wrong can be put right
	}
	a.config.Logger.Warn("the root of the certificate authority is lost, and another one is made: "+
		"every host and operator has to join again", "pin", identity.Pin(roots[0]))
	for _, file := range []string{nextKeyFile, signedFile, keyFile, rootsFile} {
		err := os.Rename(a.path(file), a.path(file+aside))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return atomicfile.SyncDir(a.config.Dir)
}

// lost is the root that was put aside: its successor has its name. Nil when there is none.
func (a *Authority) lost() (*x509.Certificate, error) {
	data, err := os.ReadFile(a.path(rootsFile + aside))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	roots, err := parseRoots(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.path(rootsFile+aside), err)
	}
	return roots[0], nil
}

// keys are those of a root and of its successor, nil for one that is of none of the roots.
func (a *Authority) keys(roots []*x509.Certificate) (key, next *rootKey, err error) {
	key, err = a.readRootKey(a.path(keyFile), roots)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %w: restore the folder from a backup", errLost, err)
	}
	if err != nil {
		return nil, nil, err
	}
	next, err = a.readRootKey(a.path(nextKeyFile), roots)
	if errors.Is(err, fs.ErrNotExist) {
		return key, nil, nil
	}
	return key, next, err
}

func parseRoots(data []byte) (roots []*x509.Certificate, err error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != blockCertificate {
			return nil, errors.New("holds something else than certificates")
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root)
	}
	switch {
	case len(roots) == 0:
		return nil, errors.New("holds no certificate")
	case len(roots) > 2:
		return nil, fmt.Errorf("holds %d certificates, must be a root and its successor at most",
			len(roots))
	}
	return roots, nil
}

// believes is nil for a certificate that one of the roots signed, whenever it was good.
func (a *Authority) believes(cert *x509.Certificate) (err error) {
	for _, root := range a.now().roots {
		if err = cert.CheckSignatureFrom(root); err == nil {
			return nil
		}
	}
	return err
}

// signed is nil for a certificate of the root that signs.
func (a *Authority) signed(cert *x509.Certificate) error {
	return cert.CheckSignatureFrom(a.now().roots[0])
}

// shown is nil for a certificate of the root that the control plane shows.
func (a *Authority) shown(cert *x509.Certificate) error {
	s := a.now()
	return cert.CheckSignatureFrom(s.roots[s.shown])
}

// showSigner has the control plane show the root that signs, until the next start: right before the
// other one goes.
func (a *Authority) showSigner() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signing.shown = 0
}

// claim keeps other processes from replacing the root, and refuses when one of them did: what this
// one has in memory is not what is there then. Release it.
func (a *Authority) claim() (release func(), err error) {
	dir, err := os.Open(a.config.Dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process works on %s: %w", a.config.Dir, err),
			dir.Close())
	}
	release = func() {
		// A program of the operator's that starts at this moment has the folder open until it runs.
		_ = unix.Flock(int(dir.Fd()), unix.LOCK_UN)
		_ = dir.Close()
	}
	there, err := a.read()
	if now := a.now(); err == nil && !slices.EqualFunc(there.roots, now.roots,
		(*x509.Certificate).Equal) {
		err = errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_STORE_MISMATCH,
			"another control plane has replaced the root in "+a.config.Dir,
			errs.WithHint("let one control plane run alone until the root is replaced, and "+
				"restart it"))
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// introduce makes a successor. It has the name of the root: what demands an issuer, as accounts of
// MariaDB do, demands the name. What stands of one that was given up is of no use any more.
func (a *Authority) introduce(ctx context.Context, since time.Time) error {
	old := a.now().roots[0]
	for _, left := range []string{nextKeyFile, signedFile} {
		if err := remove(a.path(left)); err != nil {
			return err
		}
	}
	key, err := a.newKey(ctx, a.path(nextKeyFile), old.PublicKey)
	if err != nil {
		return err
	}
	next, err := a.newRoot(ctx, key, old.Subject)
	if err != nil {
		return err
	}
	return a.become(since, old, next)
}

// swap has the other root sign.
func (a *Authority) swap(_ context.Context, since time.Time) error {
	if err := atomicfile.Write(a.path(signedFile), nil, 0o600); err != nil {
		return err
	}
	roots := a.now().roots
	return a.become(since, roots[1], roots[0])
}

// drop believes the root alone that signs. The key of the other one goes.
func (a *Authority) drop(_ context.Context, since time.Time) error {
	s := a.now()
	signed, err := a.successorSigned()
	if err == nil && signed { // then both have
		err = a.noteFormer(s.roots[1])
	}
	if err != nil {
		return err
	}
	if err := a.become(since, s.roots[0]); err != nil || s.next {
		return err
	}
	return remove(a.path(nextKeyFile))
}

// successorSigned says whether certificates of the successor may be in use.
func (a *Authority) successorSigned() (bool, error) {
	_, err := os.Stat(a.path(signedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// become writes which roots are believed, in a phase that begins now, or then when that is later:
// it is after all that was issued before.
func (a *Authority) become(since time.Time, roots ...*x509.Certificate) error {
	var data []byte
	for _, root := range roots {
		data = append(data, encode(blockCertificate, root.Raw)...)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	path := a.path(rootsFile)
	if err := atomicfile.Write(path, data, 0o644); err != nil {
		return err
	}
	if now := a.config.Now(); since.Before(now) {
		since = now
	}
	if err := os.Chtimes(path, since, since); err != nil {
		return err
	}
	return a.load()
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
