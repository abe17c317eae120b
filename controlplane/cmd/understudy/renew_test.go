package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// newPlane is a control plane without servers, and the folder of its operator's credentials.
func newPlane(t *testing.T, more map[string]any) (p *apptest.Plane, credentials string) {
	t.Helper()
	p = apptest.Start(t, workflowtest.Outside(t).Process(),
		apptest.Settings(t, t.TempDir(), more))
	return p, filepath.Join(p.Dir, "operator")
}

// A command renews the operator's certificate once half of its life is left, and not before; also
// one that has expired.
func TestCommandsRenewTheCertificate(t *testing.T) {
	t.Parallel()
	p, dir := newPlane(t, nil)
	serial := func() string {
		cert, err := identity.ReadCertificate(filepath.Join(dir, "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return identity.Serial(cert)
	}
	list := func(left time.Duration) {
		cert, err := identity.ReadCertificate(filepath.Join(dir, "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		w, _, stderr := world("provider", "check", "--address", p.Address(), "--credentials", dir)
		w.Now = func() time.Time { return cert.NotAfter.Add(-left) }
		if code := Run(t.Context(), w); code != exitOK || stderr.Len() > 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
	}
	first := serial()
	if list(5 * time.Hour); serial() != first {
		t.Error("renewed with more than half of its life left")
	}
	if list(3 * time.Hour); serial() == first {
		t.Error("not renewed with less than half of its life left")
	}
	// as good as expired by the control plane's clock too, which may be hours behind
	p, dir = newPlane(t, map[string]any{"operator_certificate_life": time.Hour})
	first = serial()
	if list(-time.Hour); serial() == first {
		t.Error("not renewed an hour after its end")
	}
}

// A certificate that has expired is refused by the control plane, and the command says what to do.
func TestAnExpiredCertificateSaysWhatToDo(t *testing.T) {
	t.Parallel()
	p, _ := newPlane(t, nil)
	dir := t.TempDir()
	ca := identitytest.Open(t, filepath.Join(p.Dir, "ca"))
	ca.WriteFiles(dir, ca.Issue(identity.Operator("admin"), func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(-time.Second)
	}))
	for _, args := range [][]string{{"server", "list"}, {"context", "renew"}} {
		w, _, stderr := world(append(args, "--address", p.Address(), "--credentials", dir)...)
		w.Now = time.Now
		if code := Run(t.Context(), w); code != exitUsage ||
			!strings.Contains(stderr.String(), "certificate in "+dir+" expired on ") ||
			!strings.Contains(stderr.String(), "understudy operator create NAME --out FILE") {
			t.Errorf("%s: exit code %d: %s", args, code, stderr)
		}
	}
}

// A clock of this computer that is far from the control plane's makes a certificate that is good
// look expired, and one that has expired look good. The clock is what the command names.
func TestAClockThatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	p, good := newPlane(t, nil)
	ended := t.TempDir()
	ca := identitytest.Open(t, filepath.Join(p.Dir, "ca"))
	ca.WriteFiles(ended, ca.Issue(identity.Operator("admin"), func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(-time.Hour)
	}))
	for _, test := range []struct {
		credentials string
		off         time.Duration
		want        string
	}{{good, 9 * time.Hour, "ahead of"}, {ended, -3 * time.Hour, "behind"}} {
		for _, command := range [][]string{{"server", "list"}, {"doctor"}} {
			w, stdout, stderr := world(append(command, "--address", p.Address(),
				"--credentials", test.credentials)...)
			w.Now = func() time.Time { return time.Now().Add(test.off) }
			code := Run(t.Context(), w)
			said := stdout.String() + stderr.String()
			if code != exitUsage || !strings.Contains(said, "clock of this computer is") ||
				!strings.Contains(said, test.want+" that of the control plane") ||
				!strings.Contains(said, "timedatectl set-ntp true") {
				t.Errorf("%s, %s: exit code %d: %s", command, test.want, code, said)
			}
		}
	}
}

// TestAClockIsBlamedForCertificatesAlone has a server out of reach, and a clock that is wrong by
// less than the certificates' lives.
func TestAClockIsBlamedForCertificatesAlone(t *testing.T) {
	t.Parallel()
	p, credentials := newPlane(t, nil)
	w, _, _ := world("server", "list", "--address", p.Address(), "--credentials", credentials)
	w.Now = func() time.Time { return time.Now().Add(4 * time.Hour) }
	c := &cli{World: w}
	c.flags.address, c.flags.credentials = p.Address(), credentials
	away := errs.New(errs.Unavailable, errorsv1.Reason_REASON_UNREACHABLE, "db2 is out of reach")
	if err := clocks(t.Context(), c, away); !errors.Is(err, away) {
		t.Errorf("it is blamed: %v", err)
	}
}

// Two commands at once lose nothing of each other.
func TestContextsAreAddedAtOnce(t *testing.T) {
	t.Parallel()
	p, dir := newPlane(t, nil)
	home := t.TempDir()
	environ := []string{"HOME=" + home}
	var all sync.WaitGroup
	const count = 8
	for i := range count {
		all.Go(func() {
			w, _, stderr := world("context", "add", fmt.Sprintf("c%d", i), "--address",
				p.Address(), "--credentials", dir)
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
