package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
)

// opens fails unless the authority is opened, or refused with these words, soon.
func opens(t *testing.T, what string, config ca.AuthorityConfig, want string) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := ca.OpenAuthority(t.Context(), config)
		done <- err
	}()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case err := <-done:
		if want == "" && err != nil || want != "" && (err == nil ||
			!strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	case <-limit.C:
		t.Errorf("%s: it hangs", what)
	}
}

// Whatever lies where the key should be, a start is refused soon, and makes no root of it.
func TestAKeyFileThatIsNone(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"a FIFO": {func(path string) error { return unix.Mkfifo(path, 0o600) },
			"is no regular file"},
		"a FIFO behind a link": {func(path string) error {
			if err := unix.Mkfifo(path+"-fifo", 0o600); err != nil {
				return err
			}
			return os.Symlink(path+"-fifo", path)
		}, "is no regular file"},
		"an endless device": {func(path string) error {
			return os.Symlink("/dev/zero", path)
		}, "can be changed by others"},
		"a folder": {func(path string) error { return os.Mkdir(path, 0o700) },
			"is no regular file"},
		"a socket": {func(path string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
		}, "cannot read a file of ca_key_files"},
		"a huge file": {func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 256<<20)
		}, "has more than"},
		"a key half written": {func(path string) error {
			whole, err := os.ReadFile(keyFile(t, newKey(t), 0o600))
			if err != nil {
				return err
			}
			return os.WriteFile(path, whole[:len(whole)/2], 0o600)
		}, "holds no private key"},
		"links that lead nowhere": {func(path string) error { return os.Symlink(path, path) },
			"cannot read a file of ca_key_files"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "key")
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		config := ca.AuthorityConfig{Dir: filepath.Join(dir, "ca"), Logger: quiet(),
			NewKey: ca.KeyInFile, KeyFiles: []string{path}}
		opens(t, what, config, c.want)
		config.ReplaceLost = true
		opens(t, what+", replacing a lost root", config, c.want)
		if _, err := os.Stat(filepath.Join(dir, "ca", "ca.pem")); err == nil {
			t.Errorf("%s: a root was made", what)
		}
	}
}

// Who can put another key in the place of the next root's would be the CA from the next step on.
func TestAKeyFileThatOthersCanReplace(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func(path string) (string, error){
		"a file that others can write": func(path string) (string, error) {
			return path, os.Chmod(path, 0o620)
		},
		"a folder that others can write": func(path string) (string, error) {
			return path, os.Chmod(filepath.Dir(path), 0o777)
		},
		"a folder above it": func(path string) (string, error) {
			below := filepath.Join(filepath.Dir(path), "a", "b")
			if err := os.MkdirAll(below, 0o700); err != nil {
				return "", err
			}
			if err := os.Rename(path, filepath.Join(below, "key")); err != nil {
				return "", err
			}
			return filepath.Join(below, "key"), os.Chmod(filepath.Dir(path), 0o777)
		},
		"a link to one": func(path string) (string, error) {
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(path, link); err != nil {
				return "", err
			}
			return link, os.Chmod(filepath.Dir(path), 0o777)
		},
		"a link in one": func(path string) (string, error) {
			open := t.TempDir()
			if err := os.Chmod(open, 0o777); err != nil {
				return "", err
			}
			return filepath.Join(open, "link"), os.Symlink(path, filepath.Join(open, "link"))
		},
		"a file of somebody else": func(path string) (string, error) {
			if os.Getuid() != 0 {
				return path, os.Chmod(path, 0o620)
			}
			return path, os.Chown(path, 65534, 65534)
		},
	} {
		path, err := spoil(keyFile(t, newKey(t), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		opens(t, what, ca.AuthorityConfig{Dir: filepath.Join(t.TempDir(), "ca"), Logger: quiet(),
			NewKey: ca.KeyInFile, KeyFiles: []string{path}}, "can be changed by others")
	}
}

// A file of the first of two phases can be a credential whose mode is that of systemd's ACL.
func TestAKeyFileAsSystemdMakesIt(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o400, 0o440, 0o640} {
		opens(t, mode.String(), ca.AuthorityConfig{Dir: filepath.Join(t.TempDir(), "ca"),
			Logger: quiet(), NewKey: ca.KeyInFile,
			KeyFiles: []string{keyFile(t, newKey(t), mode)}}, "")
	}
}

// What an interrupted step left of a successor that no root is of keeps nobody from starting, after
// the setting was taken back; nor does that of the root that went, whose key was deleted.
func TestAPublicPartOfNoRootNeedsNoKey(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	two := keyFile(t, newKey(t), 0o600)
	e.reopen(inFiles(two))
	e.goes(ca.PhaseIntroduced, false)
	public := e.read("ca", "next-key.pem")
	e.goes(ca.PhaseSingle, true)
	next := filepath.Join(e.dir, "ca", "next-key.pem")
	if err := os.WriteFile(next, public, 0o600); err != nil {
		t.Fatal(err)
	}
	e.reopen(nil) // fails the test when it does not start
	if _, err := os.Stat(next); err == nil {
		t.Error("what is of no root is still there")
	}

	one := keyFile(t, newKey(t), 0o600)
	e = estateOf(buildWith(t, inFiles(one)), "db-1")
	e.reopen(inFiles(one, two))
	before := e.read("ca", "key.pem")
	e.replaces()
	now := e.read("ca", "key.pem")
	for name, data := range map[string][]byte{"key.pem": before, "next-key.pem": now} {
		if err := os.WriteFile(filepath.Join(e.dir, "ca", name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.reopen(inFiles(two)) // the key of the root that went is deleted
	e.renew("db-1", true)
	e.check("after the last write of the last step")
}

// A key that was replaced, since somebody may have read it, is not taken again: with it and the
// root's name all would be believed again that it signed.
func TestAKeyThatWentIsNoSuccessors(t *testing.T) {
	t.Parallel()
	one, two := keyFile(t, newKey(t), 0o600), keyFile(t, newKey(t), 0o600)
	e := estateOf(buildWith(t, inFiles(one, two)), "db-1")
	e.replaces()
	if _, err := e.rotate(false); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("the key of the first root is the successor's: %v", err)
	}
	three := keyFile(t, newKey(t), 0o600)
	e.reopen(inFiles(one, two, three))
	e.goes(ca.PhaseIntroduced, false)
	e.goes(ca.PhaseSingle, true)
	e.goes(ca.PhaseIntroduced, false) // one that was given up before it signed is taken again
	e.renew("db-1", true)
	e.goes(ca.PhaseRenewing, false)
	e.renew("db-1", true)
	e.joined()
	e.goes(ca.PhaseSingle, false)
	h := newHSM(t)
	e = estateOf(buildWith(t, inSigner(h)), "db-1")
	first := h.keys[0]
	h.set(func() { h.keys = append(h.keys, newKey(t)) })
	e.replaces()
	h.set(func() { h.keys = append(h.keys, first) })
	if _, err := e.rotate(false); err == nil || !strings.Contains(err.Error(), "no other key") {
		t.Errorf("the signer's first key is the successor's: %v", err)
	}
}

// Nor is one that was given up after it had signed.
func TestASuccessorThatSignedIsNotTakenAgain(t *testing.T) {
	t.Parallel()
	one, two := keyFile(t, newKey(t), 0o600), keyFile(t, newKey(t), 0o600)
	e := estateOf(buildWith(t, inFiles(one, two)), "db-1")
	for _, phase := range []ca.Phase{ca.PhaseIntroduced, ca.PhaseRenewing} {
		e.goes(phase, false)
		e.renew("db-1", true)
	}
	for _, phase := range []ca.Phase{ca.PhaseIntroduced, ca.PhaseSingle} {
		e.joined()
		e.goes(phase, true)
		e.renew("db-1", true)
	}
	if _, err := e.rotate(false); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("the key of the successor that was given up is the next one's: %v", err)
	}
}

// The signer is asked for digests alone that go with the key: a KMS refuses SHA-256 for P-384.
func TestASignerIsCheckedAsItSigns(t *testing.T) {
	t.Parallel()
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := newHSM(t)
	h.keys[0] = wide
	h.sizes = map[int]bool{}
	authority, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Logger: quiet(),
		Dir: filepath.Join(t.TempDir(), "ca"), NewKey: ca.KeyInSigner, Signer: h})
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.CheckSigner(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(h.sizes) != 1 || !h.sizes[48] {
		t.Errorf("digests of these sizes: %v", h.sizes)
	}
}

// A successor whose key is gone from the signer does not begin to sign: nothing could be issued.
func TestASuccessorWhoseKeyIsGone(t *testing.T) {
	t.Parallel()
	h := newHSM(t)
	e := estateOf(buildWith(t, inSigner(h)), "db-1")
	next := newKey(t)
	h.set(func() { h.keys = append(h.keys, next) })
	e.goes(ca.PhaseIntroduced, false)
	e.renew("db-1", true)
	h.set(func() { h.keys = h.keys[:1] })
	_, err := e.rotate(false)
	unsigned(t, "the step", err)
	e.renew("db-1", true)
	h.set(func() { h.keys = append(h.keys, next) })
	e.goes(ca.PhaseRenewing, false)
}

// The status says of each root where its key is, also of one whose setting is another by now.
func TestTheStatusSaysWhereAKeyIs(t *testing.T) {
	t.Parallel()
	e := newEstate(t, "db-1")
	places := func(want ...ca.KeyPlace) {
		t.Helper()
		status, err := ca.NewRotation(e.registry).Status(t.Context())
		if err != nil || len(status.Roots) != len(want) {
			t.Fatalf("%+v, %v", status.Roots, err)
		}
		for i, root := range status.Roots {
			if root.Key != want[i] {
				t.Errorf("root %d: %s, want %s", i, root.Key, want[i])
			}
		}
	}
	h := newHSM(t)
	e.reopen(inSigner(h))
	places(ca.KeyInStateDir)
	e.goes(ca.PhaseIntroduced, false)
	places(ca.KeyInStateDir, ca.KeyInSigner)
	e = estateOf(buildWith(t, inFiles(keyFile(t, newKey(t), 0o600))), "db-1")
	places(ca.KeyInFile)
}
