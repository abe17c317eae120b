package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/signer"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// vault is a state directory whose CA has its key elsewhere.
type vault struct {
	t                   *testing.T
	dir, state, archive string
	key, program        string // files: the private key, and the signer
	print               string // the SHA-256 of its public part
}

func newVault(t *testing.T, place ca.KeyPlace) *vault {
	t.Helper()
	dir := t.TempDir()
	v := &vault{t: t, dir: dir, state: filepath.Join(dir, "state"),
		archive: filepath.Join(dir, "a.tar"), key: filepath.Join(dir, "ca-key.pem"),
		program: filepath.Join(dir, "sign")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	v.must(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	v.must(err)
	v.write(v.key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), 0o600)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	v.must(err)
	sum := sha256.Sum256(public)
	v.print = hex.EncodeToString(sum[:])
	v.write(v.program, "#!/bin/sh\ncase $1 in\npublic-key) exec openssl pkey -in "+v.key+
		" -pubout ;;\nsign) exec openssl pkeyutl -sign -inkey "+v.key+
		" -pkeyopt digest:$2 ;;\nesac\n", 0o700)
	config := ca.AuthorityConfig{Dir: filepath.Join(v.state, "ca"), NewKey: place,
		Logger: slog.New(slog.DiscardHandler)}
	switch place {
	case ca.KeyInFile:
		config.KeyFiles = []string{v.key}
	case ca.KeyInSigner:
		config.Signer, err = signer.New(signer.Config{Command: []string{v.program}})
		v.must(err)
	}
	_, err = ca.OpenAuthority(t.Context(), config)
	v.must(err)
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(v.state, "understudy.db"),
		Logger: slog.New(slog.DiscardHandler)})
	v.must(err)
	v.must(st.Close())
	return v
}

func (v *vault) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) write(path, text string, mode os.FileMode) {
	v.t.Helper()
	v.must(os.WriteFile(path, []byte(text), mode))
}

// runs is what a command prints, with that configuration of a machine.
func (v *vault) runs(config string, args ...string) string {
	v.t.Helper()
	file := filepath.Join(v.dir, "understudy.yaml")
	v.write(file, config, 0o600)
	w, out, errs := world(append(args, "--config", file)...)
	if code := Run(v.t.Context(), w); code != exitOK {
		v.t.Fatalf("%v: exit code %d: %s", args, code, errs)
	}
	return out.String()
}

// A backup without the CA's key says so, and the restore what has to be there.
func TestABackupSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	for _, place := range []ca.KeyPlace{ca.KeyInSigner, ca.KeyInFile, ca.KeyInStateDir} {
		t.Run(string(place), func(t *testing.T) {
			t.Parallel()
			v := newVault(t, place)
			config, where := "", ""
			switch place {
			case ca.KeyInSigner:
				config = "ca_key: signer\nca_signer: [" + v.program + "]\n"
				where = "the signer " + v.program
			case ca.KeyInFile:
				config = "ca_key: file\nca_key_files: [" + v.key + "]\n"
				where = "one of the files " + v.key
			}
			said := v.runs("state_dir: "+v.state+"\n"+config, "backup", v.archive)
			texts := []string{"not in it: the private key to ca/key.pem, which is in " + where,
				v.print, "keep that key too"}
			data, err := os.ReadFile(v.archive)
			v.must(err)
			if where == "" {
				if strings.Contains(said, "not in it") {
					t.Errorf("it lacks nothing: %s", said)
				}
			} else {
				has(t, said, texts...)
				if strings.Contains(string(data), "PRIVATE KEY") {
					t.Error("a private key is in it all the same")
				}
			}

			to := "state_dir: " + filepath.Join(v.dir, "restored") + "\n"
			said = v.runs(to, "restore", v.archive)
			if where == "" {
				if strings.Contains(said, "has to be here") {
					t.Errorf("nothing has to be there: %s", said)
				}
				return
			}
			has(t, said, "has to be here before the first start: the private key to "+
				"ca/key.pem, which was in "+where, v.print,
				"names no signer and no file with a key: set ca_signer, or ca_key_files")
			to = "state_dir: " + filepath.Join(v.dir, "again") + "\n" + config
			has(t, v.runs(to, "restore", v.archive),
				"the configuration of this machine has keys in "+where)
			has(t, v.runs("state_dir: "+filepath.Join(v.dir, "third")+"\n", "restore", v.archive,
				"-o", "json"), `"elsewhere"`, v.print)
		})
	}
}

func has(t *testing.T, said string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			t.Errorf("it does not say %q: %s", text, said)
		}
	}
}
