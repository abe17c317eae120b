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
	data := given.pem()
	if len(issuers) > 1 { // in the middle of a replacement, which goes on where its keys are there
		held, err := a.holdsKey(issuers[1].cert())
		if err != nil {
			return err
		}
		if held {
			data = append(data, issuers[1].pem()...)
		}
	}
	if err := atomicfile.Write(a.path(rootsFile), data, 0o644); err != nil {
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
	held, err := a.holdsKey(given.cert())
	if err == nil && !held {
		err = fmt.Errorf("the key in %s is not that of it", a.path(keyFile))
	}
	return given, err
}

// holdsKey says whether the folder has the key of it, which is that of a successor in the middle of
// a replacement.
func (a intermediates) holdsKey(cert *x509.Certificate) (bool, error) {
	for _, file := range []string{keyFile, nextKeyFile} {
		key, err := a.readRootKey(a.path(file), []*x509.Certificate{cert})
		if file == nextKeyFile && errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil || belong(key, cert) {
			return err == nil, err
		}
	}
	return false, nil
}
