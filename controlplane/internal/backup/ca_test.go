package backup

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
)

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The CA's files of a backup are of one moment, also while a step of a replacement of the root is
// taken, which changes one after the other.
func TestTheFilesOfTheCABelongTogether(t *testing.T) {
	t.Parallel()
	state, staged := t.TempDir(), t.TempDir()
	from := filepath.Join(state, caDir)
	if err := os.Mkdir(from, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, from, map[string]string{"ca.pem": "old", "key.pem": "old", "next-key.pem": "new"})
	step := func() {
		put(t, from, map[string]string{"ca.pem": "new", "key.pem": "new"})
		if err := os.Remove(filepath.Join(from, "next-key.pem")); err != nil &&
			!errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	if err := copyCA(Config{StateDir: state, copied: step}, staged); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.pem", "key.pem"} {
		if data, err := os.ReadFile(filepath.Join(staged, caDir, name)); err != nil ||
			string(data) != "new" {
			t.Errorf("%s: %q %v", name, data, err)
		}
	}
	if _, err := os.Stat(filepath.Join(staged, caDir, "next-key.pem")); err == nil {
		t.Error("a key that has moved since")
	}
	n := 0
	always := func() { n++; put(t, from, map[string]string{"ca.pem": strings.Repeat("x", n)}) }
	if err := copyCA(Config{StateDir: state, copied: always}, staged); err == nil {
		t.Error("files that change all the time")
	}
}

// A restored CA with a successor takes it that the successor has signed since the backup.
func TestASuccessorMayHaveSignedSinceTheBackup(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]bool{"next-key.pem": true, "key.pem": false} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, caDir), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, caDir), map[string]string{next: "key"})
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time it is there
			if err := successorSigned(root); err != nil {
				t.Error(err)
			}
		}
		_, err = root.Stat(caDir + "/next-signed")
		if noted := err == nil; noted != want {
			t.Errorf("%s: noted %t: %v", next, noted, err)
		}
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The pin of a backup is that of the root, which hosts believe, and of no intermediate before it.
func TestThePinIsTheRoots(t *testing.T) {
	t.Parallel()
	root := identitytest.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	below := root.Certify(&key.PublicKey, identity.Agent("none"))
	var data []byte
	for _, cert := range [][]byte{below.Raw, root.Certificate.Raw} {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	}
	if pin, err := pinOf(data); err != nil || pin != identity.Pin(root.Certificate) {
		t.Errorf("%s, %v", pin, err)
	}
}
