package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

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
	issuers []issuer   // the first one signs
	keys    []*rootKey // of each
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
	shown := s.issuers[s.shown].root
	data = encode(blockCertificate, shown.Raw)
	for _, root := range rootsOf(s.issuers) {
		if !root.Equal(shown) {
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
		err := errors.Join(a.forgetSuccessor(), intermediates{a}.forgetRequested(s.keys[0]))
		if err != nil {
			return err
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
	if s.issuers, err = parseIssuers(data); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	certs := signers(s.issuers)
	key, next, err := a.keys(certs)
	if err != nil {
		return s, err
	}
	s.keys, s.next = []*rootKey{key, next}, belong(next, certs[0])
	if s.next {
		s.keys = []*rootKey{next, key}
	}
	switch other := certs[len(certs)-1]; {
	case !s.next && !belong(key, certs[0]):
		return s, fmt.Errorf("%w: neither %s nor %s beside %s is the key of what signs: "+
			"restore the folder from a backup", errLost, keyFile, nextKeyFile, path)
	case len(certs) == 1:
		s.phase = PhaseSingle
	case !s.next && belong(next, other):
		s.phase = PhaseIntroduced
	case s.next && belong(key, other):
		s.phase, s.shown = PhaseRenewing, 1
	default:
		return s, fmt.Errorf("%s has a second certificate, and neither %s nor %s beside it is its "+
			"key", path, keyFile, nextKeyFile)
	}
	if end := s.issuers[0].expires(); !a.config.Now().Before(end) {
		return s, fmt.Errorf("%w: the %s in %s expired on %s", errLost, s.issuers[0].what(), path,
			end.Format(time.DateOnly))
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
	issuers, err := parseIssuers(data)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path(rootsFile), err)
	}
	_, err = a.read()
	if !errors.Is(err, errLost) && !errors.Is(err, fs.ErrNotExist) {
		return nil // nothing is lost, or what is wrong can be put right
	}
	a.config.Logger.Warn("the root of the certificate authority is lost, and another one is made: "+
		"every host and operator has to join again", "pin", identity.Pin(issuers[0].root))
	for _, file := range []string{nextKeyFile, signedFile, keyFile, rootsFile} {
		err := os.Rename(a.path(file), a.path(file+aside))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return atomicfile.SyncDir(a.config.Dir)
}

// lost is the root that was put aside: its successor has its name. Nil when there is none.
func (a *Authority) lost() (*issuer, error) {
	data, err := os.ReadFile(a.path(rootsFile + aside))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil {
		return nil, err
	}
	issuers, err := parseIssuers(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.path(rootsFile+aside), err)
	}
	return &issuers[0], nil
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

// believes is nil for a certificate that one of those signed that sign here, whenever it was good.
// One of an intermediate of before is believed by its root, and on record.
func (a *Authority) believes(cert *x509.Certificate) (err error) {
	for _, one := range a.now().issuers {
		if err = one.signed(cert); err == nil {
			return nil
		}
	}
	return err
}

// signed is nil for a certificate of the one that signs.
func (a *Authority) signed(cert *x509.Certificate) error {
	return a.now().issuers[0].signed(cert)
}

// shown is nil for a certificate of the root that the control plane shows.
func (a *Authority) shown(cert *x509.Certificate) error {
	s := a.now()
	return s.issuers[s.shown].signed(cert)
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
func (a *Authority) claim(ctx context.Context) (release func(), err error) {
	release, err = folder(a.config.Dir).await(ctx, stepsWait)
	if err != nil {
		return nil, err
	}
	there, err := a.read()
	if now := a.now(); err == nil && !slices.EqualFunc(there.issuers, now.issuers,
		issuer.same) {
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

// introduce makes a successor. It has the name of what signs: what demands an issuer, as accounts
// of MariaDB do, demands the name. What stands of one that was given up is of no use any more.
func (a *Authority) introduce(ctx context.Context, since time.Time) error {
	old := a.now().issuers[0]
	if err := a.forgetSuccessor(); err != nil {
		return err
	}
	key, err := a.newKey(ctx, a.path(nextKeyFile), old.cert().PublicKey)
	if err != nil {
		return err
	}
	next, err := a.newRoot(ctx, key, old.cert().Subject)
	if err != nil {
		return err
	}
	return a.become(since, old, issuer{root: next})
}

// forgetSuccessor removes what stands of one that was given up.
func (a *Authority) forgetSuccessor() error {
	for _, left := range []string{nextKeyFile, signedFile} {
		if err := remove(a.path(left)); err != nil {
			return err
		}
	}
	return nil
}

// swap has the other root sign.
func (a *Authority) swap(_ context.Context, since time.Time) error {
	if err := atomicfile.Write(a.path(signedFile), nil, 0o600); err != nil {
		return err
	}
	issuers := a.now().issuers
	return a.become(since, issuers[1], issuers[0])
}

// drop believes the root alone that signs. The key of the other one goes.
func (a *Authority) drop(_ context.Context, since time.Time) error {
	s := a.now()
	signed, err := a.successorSigned()
	if err == nil && signed { // then both have
		err = a.noteFormer(s.gone())
	}
	if err != nil {
		return err
	}
	if err := a.become(since, s.issuers[0]); err != nil || s.next {
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
func (a *Authority) become(since time.Time, issuers ...issuer) error {
	var data []byte
	for _, one := range issuers {
		data = append(data, one.pem()...)
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
