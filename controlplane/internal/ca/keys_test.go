package ca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// keyFile writes a private key as an operator has it.
func keyFile(t *testing.T, key any, mode os.FileMode) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca-key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// inFiles has the keys of roots in files outside of the folder.
func inFiles(files ...string) func(*ca.AuthorityConfig) {
	return func(c *ca.AuthorityConfig) { c.NewKey, c.KeyFiles = ca.KeyInFile, files }
}

// TestTwoFirstStartsWithOneKeyMakeOneRoot: each in a folder of its own, on one store. What one
// signs is good by the root of the other.
func TestTwoFirstStartsWithOneKeyMakeOneRoot(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := keyFile(t, key, 0o600)
	var roots []*x509.Certificate
	for range 2 {
		a, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Dir: t.TempDir(),
			NewKey: ca.KeyInFile, KeyFiles: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(a.PEM())
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
	}
	if err := roots[0].CheckSignatureFrom(roots[1]); err != nil ||
		!bytes.Equal(roots[0].RawSubject, roots[1].RawSubject) {
		t.Errorf("%s and %s: %v", roots[0].Subject, roots[1].Subject, err)
	}
}

// secrets are the files below the state directory that hold a private key, but for the kept
// identities' own.
func (h *house) secrets() (found []string) {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "ca", "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data),
			"PRIVATE KEY") {
			found = append(found, filepath.Base(file))
		}
	}
	return found
}

// reopen is a start with the keys elsewhere from now on.
func (e *estate) reopen(keys func(*ca.AuthorityConfig)) {
	e.t.Helper()
	e.house.keys = keys
	e.registry = e.open()
	e.keep()
}

// replaces takes the whole replacement of the root.
func (e *estate) replaces() {
	e.t.Helper()
	e.goes(ca.PhaseIntroduced, false)
	e.renew("db-1", true)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true)
	e.joined()
	e.goes(ca.PhaseSingle, false)
}

// The first root can have its key outside of the state directory, RSA too: hosts join and renew, a
// restart finds it, and nothing of the key is in the folder.
func TestARootWhoseKeyIsInAFileElsewhere(t *testing.T) {
	t.Parallel()
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for what, key := range map[string]any{"ECDSA P-256": newKey(t), "ECDSA P-384": wide,
		"RSA": long} {
		e := estateOf(buildWith(t, inFiles(keyFile(t, key, 0o600))), "db-1")
		e.check(what)
		pin := identity.Pin(parse(t, e.read("ca", "ca.pem")))
		e.reopen(e.house.keys)
		e.renew("db-1", true)
		e.check(what + " after a restart")
		if found := e.secrets(); len(found) > 0 {
			t.Errorf("%s: a private key in %v", what, found)
		}
		if now := identity.Pin(parse(t, e.read("ca", "ca.pem"))); now != pin {
			t.Errorf("%s: another root after a restart", what)
		}
	}
}

// The key of the root moves out of the state directory, to another file, and back, by replacements
// of the root that refuse nobody.
func TestTheKeyMovesByReplacingTheRoot(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	one, two := keyFile(t, newKey(t), 0o600), keyFile(t, newKey(t), 0o400)
	e.reopen(inFiles(one))
	if len(e.secrets()) != 1 {
		t.Errorf("the setting alone moved a key: %v", e.secrets())
	}
	e.replaces()
	if found := e.secrets(); len(found) > 0 {
		t.Errorf("the old key is still there: %v", found)
	}
	if _, err := e.rotate(false); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("a successor with the key of the root: %v", err)
	}
	e.reopen(inFiles(one, two))
	e.replaces()
	e.reopen(inFiles(two)) // the first one is not needed any more
	e.reopen(func(c *ca.AuthorityConfig) { c.KeyFiles = []string{two} })
	e.replaces()
	e.reopen(nil)
	e.check("back in the state directory")
	if len(e.secrets()) != 1 {
		t.Errorf("private keys: %v", e.secrets())
	}
}

// A key file that is away for a start is no lost root: nothing is made in its place, whatever was
// asked for, and it goes on when the file is back.
func TestAKeyFileThatIsAwayIsNoLostRoot(t *testing.T) {
	t.Parallel()
	path := keyFile(t, newKey(t), 0o600)
	e := estateOf(buildWith(t, inFiles(path)), "db-1")
	before := e.read("ca", "ca.pem")
	if err := os.Rename(path, path+"-away"); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*ca.AuthorityConfig){
		"away": func(*ca.AuthorityConfig) {},
		"away, and asked to replace a lost root": func(c *ca.AuthorityConfig) {
			c.ReplaceLost = true
		},
		"not named": func(c *ca.AuthorityConfig) { c.KeyFiles = nil },
	} {
		config := e.authority()
		change(&config)
		if _, err := ca.OpenAuthority(t.Context(), config); err == nil ||
			!strings.Contains(err.Error(), "ca_key_files") {
			t.Errorf("%s: %v", what, err)
		}
		if string(e.read("ca", "ca.pem")) != string(before) {
			t.Fatalf("%s: another root", what)
		}
	}
	if err := os.Rename(path+"-away", path); err != nil {
		t.Fatal(err)
	}
	e.reopen(e.house.keys)
	e.renew("db-1", true)
}

// A start that ended between the two files goes on, also with another key when no root is of the
// one that was chosen; a private key that may be the only one is not replaced.
func TestAStartThatEndedBeforeTheRoot(t *testing.T) {
	t.Parallel()
	one, two := keyFile(t, newKey(t), 0o600), keyFile(t, newKey(t), 0o600)
	half := func(keys func(*ca.AuthorityConfig)) *house {
		h := buildWith(t, keys)
		if err := os.Remove(filepath.Join(h.dir, "ca", "ca.pem")); err != nil {
			t.Fatal(err)
		}
		return h
	}
	for what, then := range map[string]func(*ca.AuthorityConfig){"the same": inFiles(one),
		"another": inFiles(two), "the state directory": nil} {
		h := half(inFiles(one))
		h.keys = then
		h.open()
		if len(h.secrets()) > 0 != (then == nil) {
			t.Errorf("%s: private keys in %v", what, h.secrets())
		}
	}
	h := half(nil)
	h.keys = inFiles(one)
	if _, err := ca.OpenAuthority(t.Context(), h.authority()); err == nil ||
		!strings.Contains(err.Error(), "move the file away") {
		t.Errorf("a key of before: %v", err)
	}
}

func TestAWeakKeyIsNoKeyOfARoot(t *testing.T) {
	t.Parallel()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("-----BEGIN EC PRIVATE KEY-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		keyFile(t, short, 0o600):     "RSA of 1024 bits: must be",
		keyFile(t, edwards, 0o600):   "of another kind: must be",
		keyFile(t, small, 0o600):     "ECDSA P-224: must be",
		keyFile(t, newKey(t), 0o644): "can be read by everybody",
		text:                         "openssl genpkey",
	} {
		dir := filepath.Join(t.TempDir(), "ca")
		_, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Dir: dir, Logger: quiet(),
			NewKey: ca.KeyInFile, KeyFiles: []string{path}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "ca.pem")); err == nil {
			t.Error("a root was made: " + want)
		}
	}
}
