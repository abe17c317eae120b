package signer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/signer"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a program of an operator's in a folder of its own, which is its $0's.
func script(t *testing.T, limit time.Duration, text string) (p *signer.Program, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "sign")
	if err := os.WriteFile(path, []byte("cd "+dir+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := signer.New(signer.Config{Command: []string{"/bin/sh", path, "--token", "hsm 1"},
		Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return p, dir
}

// byOpenSSL is the example of docs/ca.md.
const byOpenSSL = `shift 2
case $1 in
public-key) exec openssl pkey -in key.pem -pubout ;;
sign) exec openssl pkeyutl -sign -inkey key.pem -pkeyopt digest:$2 ;;
esac
`

func newKey(t *testing.T, dir string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{
		Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return key
}

var digest = sha256.Sum256([]byte("what is signed"))

func sign(ctx context.Context, t *testing.T, p *signer.Program) ([]byte, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p.Sign(ctx, &key.PublicKey, digest[:], crypto.SHA256)
}

func TestOpenSSLSigns(t *testing.T) {
	t.Parallel()
	p, dir := script(t, time.Minute, byOpenSSL)
	key := newKey(t, dir)
	public, err := p.Public(t.Context())
	if err != nil || !key.PublicKey.Equal(public) {
		t.Fatalf("%v: %v", public, err)
	}
	signature, err := p.Sign(t.Context(), public, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
		t.Errorf("%x: %v", signature, err)
	}
}

// What the program gets: its own arguments, then the call's; the digest alone on its input.
func TestWhatTheProgramGets(t *testing.T) {
	t.Parallel()
	p, dir := script(t, time.Minute, `printf '%s|' "$@" >got; cat >digest; echo signature`)
	key := newKey(t, dir)
	if _, err := p.Sign(t.Context(), &key.PublicKey, digest[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	id, err := identity.KeyPrintOf(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"got": "--token|hsm 1|sign|sha256|" + id + "|",
		"digest": string(digest[:])} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}

// Whatever the program does, its caller gets an error that says so, and soon.
func TestAProgramThatMisbehaves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ does, want string }{
		"fails": {"echo 'PKCS11: no token' >&2; echo more >&2; exit 3",
			"exit code 3: PKCS11: no token"},
		"fails in silence": {"exit 1", "exit code 1"},
		"says nothing":     {"exit 0", "printed nothing"},
		"is killed":        {"echo dying >&2; kill -9 $$", "ended by a signal (SIGKILL): dying"},
		"hangs": {"echo 'waits for a PIN' >&2; while :; do sleep 1; done",
			": waits for a PIN"},
		"leaves a child":   {"(sleep 600) & echo half >&2; wait", "gave no answer"},
		"floods":           {"exec yes", "printed more than"},
		"floods and hangs": {"trap '' PIPE; yes & sleep 600", "printed more than"},
		"says much":        {"yes >&2 & sleep 0.1; exit 4", "exit code 4: y"},
		"writes over a terminal": {`printf 'a\033[2Jb\n' >&2; exit 1`,
			`exit code 1: a\x1b[2Jb`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := time.Minute
			if name == "hangs" || name == "leaves a child" {
				limit = 3 * time.Second
			}
			p, _ := script(t, limit, c.does)
			began := time.Now()
			out, err := sign(t.Context(), t, p)
			if err == nil || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), p.String()) {
				t.Errorf("%q, %v; want %q", out, err, c.want)
			}
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// What the program leaves running is ended with it: also when the program itself ended well.
func TestNothingOfTheProgramGoesOn(t *testing.T) {
	t.Parallel()
	for name, does := range map[string]string{
		"ended": "sleep 600 & echo $! >pid; echo signature",
		"hangs": "sleep 600 & echo $! >pid; wait",
	} {
		p, dir := script(t, 2*time.Second, does)
		_, err := sign(t.Context(), t, p)
		if (err == nil) != (name == "ended") {
			t.Errorf("%s: %v", name, err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if !gone(t, pid) {
			t.Errorf("%s: its child %d runs", name, pid)
		}
	}
}

// gone waits for a process to be no more, or a zombie that nobody reaps here.
func gone(t *testing.T, pid int) bool {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range 500 {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) || err != nil ||
			strings.Contains(string(state), ") Z ") {
			return true
		}
		<-look.C
	}
	return false
}

// One runs at a time; who waits leaves when its own time is up, and those who wait are bounded.
func TestOneRunsAtATime(t *testing.T) {
	t.Parallel()
	p, dir := script(t, time.Minute, "mkdir alone || exit 9\n"+
		"while ! [ -e go ]; do sleep 0.01; done\nrmdir alone; echo signature")
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	var refused, left, good sync.Map
	call := func(ctx context.Context, n int) {
		switch _, err := sign(ctx, t, p); {
		case err == nil:
			good.Store(n, true)
		case strings.Contains(err.Error(), "wait for"):
			refused.Store(n, err)
		case errors.Is(err, context.Canceled):
			left.Store(n, err)
		default:
			t.Error(err)
		}
	}
	wait.Go(func() { call(t.Context(), 0) })
	awaits(t, func() bool { _, err := os.Stat(filepath.Join(dir, "alone")); return err == nil })
	for n := 1; n <= 70; n++ {
		wait.Go(func() { call(ctx, n) })
	}
	awaits(t, func() bool { return count(&refused) == 6 })
	cancel()
	awaits(t, func() bool { return count(&left) == 64 })
	wait.Go(func() { call(t.Context(), 100) })
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if count(&good) != 2 {
		t.Errorf("%d got a signature", count(&good))
	}
}

func count(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

func awaits(t *testing.T, holds func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for range 4000 {
		if holds() {
			return
		}
		<-look.C
	}
	t.Fatal("never came")
}

// A program that others can write is not run: it would sign for them.
func TestAProgramOfAnybodyIsNotRun(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"can be changed by others: file": func(dir string) error {
			return os.Chmod(filepath.Join(dir, "program"), 0o722)
		},
		"can be changed by others: folder": func(dir string) error { return os.Chmod(dir, 0o777) },
		"no such file": func(dir string) error {
			return os.Remove(filepath.Join(dir, "program"))
		},
	} {
		dir := t.TempDir()
		path, ran := filepath.Join(dir, "program"), filepath.Join(t.TempDir(), "ran")
		if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch "+ran), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		p, err := signer.New(signer.Config{Command: []string{path}})
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(name, ":")
		if _, err := sign(t.Context(), t, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Errorf("%s: it ran", name)
		}
	}
}

// No weak digest is ever sent to a signer, and a command is an absolute path.
func TestWhatIsNeverAsked(t *testing.T) {
	t.Parallel()
	p, dir := script(t, time.Minute, "touch ran; echo signature")
	key := newKey(t, dir)
	for _, hash := range []crypto.Hash{0, crypto.MD5, crypto.SHA1, crypto.SHA224} {
		if _, err := p.Sign(t.Context(), &key.PublicKey, digest[:20], hash); err == nil {
			t.Errorf("signed %s", hash)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("it ran")
	}
	for _, command := range [][]string{nil, {"sign"}, {"./sign"}} {
		if _, err := signer.New(signer.Config{Command: command}); err == nil {
			t.Errorf("%q is a command", command)
		}
	}
	for _, printed := range []string{"echo key",
		"openssl ecparam -genkey -name prime256v1 -noout"} {
		p, _ := script(t, time.Minute, printed)
		if _, err := p.Public(t.Context()); err == nil ||
			!strings.Contains(err.Error(), "no public key in PEM") {
			t.Errorf("%s: %v", printed, err)
		}
	}
}
