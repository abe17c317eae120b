package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/fakecp"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// A command renews the operator's certificate once a third of its life is left, and not before.
func TestCommandsRenewTheCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fake := fakecp.Start(t, fakecp.Config{Dir: dir})
	serial := func() string {
		cert, err := readCertificate(filepath.Join(dir, "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return identity.Serial(cert)
	}
	list := func(left time.Duration) {
		cert, err := readCertificate(filepath.Join(dir, "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		w, _, stderr := world("job", "list", "--address", fake.Address(), "--credentials", dir)
		w.Now = func() time.Time { return cert.NotAfter.Add(-left) }
		if code := Run(t.Context(), w); code != exitOK || stderr.Len() > 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
	}
	first := serial()
	if list(30 * time.Minute); serial() != first {
		t.Error("renewed with half of its life left")
	}
	if list(10 * time.Minute); serial() == first {
		t.Error("not renewed with a sixth of its life left")
	}
}
