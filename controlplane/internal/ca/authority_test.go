package ca_test

import (
	"bytes"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

func TestTheRootIsMadeOnceAndStays(t *testing.T) {
	t.Parallel()
	h := build(t)
	before := h.read("ca", "ca.pem")
	h.open()
	if !bytes.Equal(before, h.read("ca", "ca.pem")) {
		t.Error("another root after a restart")
	}
	info, err := os.Stat(filepath.Join(h.dir, "ca", "key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode: %v %v", info.Mode(), err)
	}
}

func TestARootHalfMadeIsFinishedWithTheSameKey(t *testing.T) {
	t.Parallel()
	h := build(t)
	pin := identity.Pin(parse(t, h.read("ca", "ca.pem")))
	if err := os.Remove(filepath.Join(h.dir, "ca", "ca.pem")); err != nil {
		t.Fatal(err)
	}
	h.open()
	if got := identity.Pin(parse(t, h.read("ca", "ca.pem"))); got != pin {
		t.Error("another key")
	}
}

func TestABrokenCAIsNeverReplaced(t *testing.T) {
	t.Parallel()
	tests := map[string]func(dir string) error{
		"key.pem holds no private key": func(
			dir string) error {
			return os.WriteFile(filepath.Join(dir, "key.pem"), []byte("x"), 0o600)
		},
		"ca.pem: holds no certificate": func(
			dir string) error {
			return os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o600)
		},
		"restore the folder from a backup": func(dir string) error {
			return os.Remove(filepath.Join(dir,
				"key.pem"))
		},
		"is a directory": func(
			dir string) error {
			return swapForFolder(filepath.Join(dir, "ca.pem"))
		},
	}
	for want, spoil := range tests {
		t.Run(want, func(t *testing.T) {
			h := build(t)
			dir := filepath.Join(h.dir, "ca")
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{Dir: dir,
				Logger: quiet()}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func swapForFolder(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Mkdir(path, 0o700)
}

func TestAnExpiredRootIsRefused(t *testing.T) {
	t.Parallel()
	h := build(t)
	h.clock.forward(11 * 365 * 24 * time.Hour)
	_, err := ca.OpenAuthority(t.Context(), h.authority())
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

func TestFilesAreKeptGood(t *testing.T) {
	t.Parallel()
	h := build(t)
	plane := ca.Kept{Dir: filepath.Join(h.dir, "controlplane"), Identity: identity.ControlPlane()}
	ann := ca.Kept{Dir: filepath.Join(h.dir, "operator"), Identity: identity.Operator("ann")}
	keep := func() (serials [2]string) {
		for i, kept := range []ca.Kept{plane, ann} {
			if err := h.registry.Keep(t.Context(), kept); err != nil {
				t.Fatal(err)
			}
			serials[i] = identity.Serial(parse(t, h.read(filepath.Base(kept.Dir), "cert.pem")))
		}
		return serials
	}
	first := keep()
	if again := keep(); again != first {
		t.Error("issued again what was good")
	}
	h.registry = h.open()
	if again := keep(); again != first {
		t.Error("issued again after a restart")
	}
	h.clock.forward(16 * 24 * time.Hour)
	second := keep()
	if second[0] == first[0] || second[1] != first[1] {
		t.Errorf("after 16 days: %v, before %v", second, first)
	}
	if _, err := h.registry.Revoke(t.Context(), ca.RevokeRequest{Who: identity.Operator("ann"),
		Reason: "test", Caller: byRoot()}); err != nil {
		t.Fatal(err)
	}
	h.registry = h.open() // a restart counts for nothing
	if third := keep(); third != second {
		t.Error("a key whose certificate was revoked is certified again")
	}
	if err := os.Remove(filepath.Join(ann.Dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	if fourth := keep(); fourth[1] == second[1] || fourth[0] != second[0] {
		t.Error("a new key is not certified")
	}
	for _, kept := range []ca.Kept{plane, ann} {
		if _, err := identity.NewFiles(kept.Files()); err != nil {
			t.Error(err)
		}
		info, err := os.Stat(kept.Files().Key)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	}
}

func TestTheControlPlanesNames(t *testing.T) {
	t.Parallel()
	h := build(t)
	if err := h.registry.Keep(t.Context(),
		ca.Kept{Dir: filepath.Join(h.dir, "cp"), Identity: identity.ControlPlane()}); err != nil {
		t.Fatal(err)
	}
	cert := parse(t, h.read("cp", "cert.pem"))
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "10.0.0.1", "understudy.example",
		"controlplane"} {
		if err := cert.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(h.dir, "cp", "cert.pem"),
		filepath.Join(h.dir, "cp", "key.pem")); err != nil {
		t.Error(err)
	}
}
