package enroll_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// TestEachFileOfTheIdentityIsDamaged: an agent starts, or names the folder of the file and what to
// do.
func TestEachFileOfTheIdentityIsDamaged(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"meta.json", "ca.pem", "cert.pem", "key.pem", "mariadb/ca.pem",
		"mariadb/cert.pem", "mariadb/key.pem"} {
		for damage, do := range damages {
			t.Run(name+" "+damage, func(t *testing.T) {
				t.Parallel()
				h := newHost(t, newPlane(t))
				h.joined("t1")
				do(t, filepath.Join(h.dir, "state", "identity", "a", name))
				_, err := h.start().Ensure(patience(t))
				if err == nil {
					return
				}
				part := "identity/current"
				if name == "meta.json" {
					part = name
				}
				hint := errs.HintOf(err).String()
				if !strings.Contains(err.Error(), part) || !strings.Contains(hint, "token") {
					t.Errorf("%v; hint: %s", err, hint)
				}
			})
		}
	}
}

// TestADamagedKeyOfARenewalIsMadeAgain: its answer was lost, and it is nobody's yet.
func TestADamagedKeyOfARenewalIsMadeAgain(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"meta.json", "key.pem", "mariadb/key.pem"} {
		for damage, do := range damages {
			t.Run(name+" "+damage, func(t *testing.T) {
				t.Parallel()
				h := newHost(t, newPlane(t))
				e := h.joined("t1")
				h.plane.set(func() { h.plane.after = func() error { return errors.New("lost") } })
				if err := e.Renew(patience(t)); err == nil {
					t.Fatal("renewed")
				}
				h.plane.set(func() { h.plane.after = nil })
				do(t, filepath.Join(h.dir, "state", "identity", "b", name))
				if err := h.start().Renew(patience(t)); err != nil {
					t.Error(err)
				}
				h.check(h.start())
			})
		}
	}
}

// damages are what becomes of a file.
var damages = map[string]func(t *testing.T, path string){
	"gone": func(t *testing.T, path string) {
		t.Helper()
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	},
	"empty": func(t *testing.T, path string) { t.Helper(); overwrite(t, path, 0, 0) },
	"cut":   func(t *testing.T, path string) { t.Helper(); overwrite(t, path, 3, 0) },
	"zeros": func(t *testing.T, path string) { t.Helper(); overwrite(t, path, 0, 4) },
}

// overwrite keeps so many quarters of a file, with so many of zeros behind.
func overwrite(t *testing.T, path string, kept, zeros int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		quarter := len(data) / 4
		err = os.WriteFile(path, append(data[:kept*quarter:kept*quarter],
			make([]byte, zeros*quarter)...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
