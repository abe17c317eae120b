package app

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// A control plane starts while its signer is away, with the certificates that it has; without one
// of its own it does not, and says why.
func TestAStartWhileTheSignerIsAway(t *testing.T) {
	t.Parallel()
	dir, tools := t.TempDir(), t.TempDir()
	program := filepath.Join(tools, "sign")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(program, []byte("cd "+tools+"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`[ -e key.pem ] || openssl genpkey -algorithm RSA -out key.pem 2>/dev/null
case $1 in
public-key) exec openssl pkey -in key.pem -pubout ;;
sign) exec openssl pkeyutl -sign -inkey key.pem -pkeyopt digest:$2 ;;
esac`)
	st := storetest.New(t)
	var log strings.Builder
	start := func() error {
		_, err := newRegistry(t.Context(), Config{StateDir: dir, CAKey: ca.KeyInSigner,
			CASigner: []string{"/bin/sh", program}, CASignerLimit: time.Minute}, st,
			[]string{"192.0.2.1:7440"}, func(string) {}, nil, nil, nil,
			slog.New(slog.NewTextHandler(&log, nil)))
		return err
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "ca", "key.pem")); err != nil ||
		!strings.Contains(string(data), "BEGIN PUBLIC KEY") {
		t.Errorf("the key is in the state directory: %v", err)
	}
	write("echo 'the HSM is away' >&2; exit 7")
	if err := os.Remove(filepath.Join(dir, "operator", "cert.pem")); err != nil {
		t.Fatal(err)
	}
	if err := start(); err != nil || !strings.Contains(log.String(), "the HSM is away") {
		t.Errorf("while the signer is away: %v, %s", err, &log)
	}
	if err := os.Remove(filepath.Join(dir, "controlplane", "cert.pem")); err != nil {
		t.Fatal(err)
	}
	var unsigned *ca.NoSignature
	if err := start(); !errors.As(err, &unsigned) ||
		!strings.Contains(err.Error(), "exit code 7: the HSM is away") {
		t.Errorf("without a certificate of its own: %v", err)
	}
}
