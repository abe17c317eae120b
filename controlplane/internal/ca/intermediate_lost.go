package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// replaceIntermediate has another intermediate of the same root sign in place of one that has ended
// or whose key is gone. Nothing happens to one that still signs. The key of the other one is in the
// folder already, or its public part is. Hosts and operators go on to believe the root.
func (a intermediates) replaceIntermediate() error {
	there, err := os.ReadFile(a.path(rootsFile))
	if err != nil {
		return fmt.Errorf("there is no intermediate to replace: %w", err)
	}
	issuers, err := parseIssuers(there)
	if err != nil {
		return fmt.Errorf("%s: %w", a.path(rootsFile), err)
	}
	if _, err := a.read(); !errors.Is(err, errLost) && !errors.Is(err, fs.ErrNotExist) {
		return nil // nothing is lost, or what is wrong can be put right
	}
	given, err := a.replacing(issuers[0])
	if err != nil {
		return fmt.Errorf("cannot use %s in place of the intermediate: %w", a.config.Intermediate,
			err)
	}
	if err := atomicfile.Write(a.path(rootsFile), given.pem(), 0o644); err != nil {
		return err
	}
	a.config.Logger.Warn("another intermediate signs from now on", "pin",
		identity.Pin(given.intermediate), "root", identity.Pin(given.root))
	return nil
}

// replacing is the intermediate of the file that goes on for the one that was lost.
func (a intermediates) replacing(lost issuer) (given issuer, err error) {
	data, err := os.ReadFile(a.config.Intermediate)
	if err != nil {
		return given, err
	}
	if lost.intermediate == nil {
		return given, errors.New("what was lost is a root, and no intermediate")
	}
	a.signing = signing{issuers: []issuer{lost}} // whose name and root the other one has
	if given, err = a.parseIntermediate(data); err != nil {
		return given, err
	}
	if !given.root.Equal(lost.root) {
		return given, fmt.Errorf("it is of the root with pin %s, and hosts believe the one with "+
			"pin %s", identity.ShowPin(identity.Pin(given.root)),
			identity.ShowPin(identity.Pin(lost.root)))
	}
	if err := a.checkCertificates(given); err != nil {
		return given, err
	}
	former, err := a.former()
	if err != nil {
		return given, err
	}
	if isOf(given.intermediate.PublicKey, former) {
		return given, errors.New("its key has signed before, and was given up")
	}
	key, err := a.readRootKey(a.path(keyFile), []*x509.Certificate{given.cert()})
	if err == nil && !belong(key, given.cert()) {
		err = fmt.Errorf("the key in %s is not that of it", a.path(keyFile))
	}
	return given, err
}
