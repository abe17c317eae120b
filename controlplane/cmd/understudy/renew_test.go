package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
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

// A certificate that has expired is refused by the control plane, and the command says what to do.
func TestAnExpiredCertificateSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fake := fakecp.Start(t, fakecp.Config{Dir: dir, Expired: true})
	for _, args := range [][]string{{"server", "list"}, {"context", "renew"}} {
		w, _, stderr := world(append(args, "--address", fake.Address(), "--credentials", dir)...)
		w.Now = time.Now
		if code := Run(t.Context(), w); code != exitUsage ||
			!strings.Contains(stderr.String(), "certificate in "+dir+" expired on ") ||
			!strings.Contains(stderr.String(), "understudy operator create NAME --out FILE") {
			t.Errorf("%s: exit code %d: %s", args, code, stderr)
		}
	}
}

// Two commands at once lose nothing of each other.
func TestContextsAreAddedAtOnce(t *testing.T) {
	t.Parallel()
	dir, home := t.TempDir(), t.TempDir()
	fake := fakecp.Start(t, fakecp.Config{Dir: dir})
	environ := []string{"HOME=" + home}
	var all sync.WaitGroup
	const count = 8
	for i := range count {
		all.Go(func() {
			w, _, stderr := world("context", "add", fmt.Sprintf("c%d", i), "--address",
				fake.Address(), "--credentials", dir)
			w.Environ = environ
			if code := Run(t.Context(), w); code != exitOK {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	all.Wait()
	w, _, _ := world()
	w.Environ = environ
	if got, err := readContexts(w); err != nil || len(got.Contexts) != count {
		t.Errorf("%+v, %v", got, err)
	}
}
