package app_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// damages are what becomes of a file.
var damages = map[string]func(path string, data []byte) error{
	"gone":  func(path string, _ []byte) error { return os.Remove(path) },
	"empty": func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
	"cut": func(path string, data []byte) error {
		return os.WriteFile(path, data[:len(data)*3/4], 0o600)
	},
	"zeros": func(path string, data []byte) error { // as after a crash of a machine
		return os.WriteFile(path, make([]byte, len(data)), 0o600)
	},
}

// TestEachFileOfTheStateDirectoryIsDamaged starts a control plane on a state directory of which one
// file is damaged, for each file, in each phase of the CA: it starts, or says which file it is, and
// what to do.
func TestEachFileOfTheStateDirectoryIsDamaged(t *testing.T) {
	t.Parallel()
	phases := statesOfAPlane(t)
	for phase, dir := range phases {
		must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			name, err := filepath.Rel(dir, path)
			must(t, err)
			for damage, do := range damages {
				t.Run(phase+"/"+name+"/"+damage, func(t *testing.T) {
					t.Parallel()
					damaged := filepath.Join(t.TempDir(), "state")
					must(t, os.CopyFS(damaged, os.DirFS(dir)))
					data, err := os.ReadFile(path)
					must(t, err)
					must(t, do(filepath.Join(damaged, name), data))
					startsOrSays(t, damaged, name)
				})
			}
			return nil
		}))
	}
}

// TestARootThatIsGoneIsTheOneOfBefore: another one for its key would have another name, which no
// host believes. The control plane's own copy is as good.
func TestARootThatIsGoneIsTheOneOfBefore(t *testing.T) {
	t.Parallel()
	for phase, dir := range statesOfAPlane(t) {
		root := filepath.Join(dir, "ca", "ca.pem")
		before, err := os.ReadFile(root)
		must(t, err)
		must(t, os.Remove(root))
		cfg := apptest.Settings(t, dir, nil)
		dev := apptest.Dev(stillWorld(t).Process(), cfg)
		if one, err := app.New(t.Context(), cfg, apptest.Quiet(), dev); err == nil {
			t.Errorf("%s: another root was made", phase)
			must(t, one.Close())
		}
		if _, err := os.Lstat(root); err == nil {
			t.Errorf("%s: a root was written", phase)
		}
		copied, err := os.ReadFile(filepath.Join(dir, "controlplane", "ca.pem"))
		must(t, err)
		must(t, os.WriteFile(root, copied, 0o600))
		one, err := app.New(t.Context(), cfg, apptest.Quiet(), dev)
		must(t, err)
		must(t, one.Close())
		after, err := os.ReadFile(root)
		must(t, err)
		if len(after) != len(before) {
			t.Errorf("%s: the roots are not those of before", phase)
		}
	}
}

// startsOrSays fails the test unless a control plane starts on the directory, or names the file.
func startsOrSays(t *testing.T, dir, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg := apptest.Settings(t, dir, nil)
	one, err := app.New(ctx, cfg, apptest.Quiet(), apptest.Dev(stillWorld(t).Process(), cfg))
	if err == nil {
		if must(t, one.Close()); name == filepath.Join("ca", "ca.pem") {
			t.Error("starts with other roots than before")
		}
		return
	}
	hint := errs.HintOf(err).String()
	if !strings.Contains(err.Error()+hint, filepath.Base(name)) {
		t.Errorf("the refusal does not name %s: %v; hint: %s", name, err, hint)
	}
	if hint == "" {
		t.Errorf("the refusal does not say what to do: %v", err)
	}
}

// statesOfAPlane are state directories of one that has stopped, in each phase of its CA.
func statesOfAPlane(t *testing.T) map[string]string {
	t.Helper()
	dir, w := t.TempDir(), stillWorld(t)
	p := startPlane(t, dir, w)
	states := map[string]string{}
	keep := func(phase string) {
		p.Stop()
		states[phase] = filepath.Join(t.TempDir(), phase)
		must(t, os.CopyFS(states[phase], noSockets(t, dir)))
		p = startPlane(t, dir, w)
	}
	enrolment := func() cpv1.EnrollmentServiceClient {
		return cpv1.NewEnrollmentServiceClient(p.conn)
	}
	_, err := enrolment().RequestIntermediate(t.Context(), &cpv1.RequestIntermediateRequest{})
	must(t, err)
	keep("single")
	for from, next := range []string{"introduced", "renewing"} {
		request := &cpv1.RotateAuthorityRequest{From: cpv1.AuthorityPhase_AUTHORITY_PHASE_SINGLE +
			cpv1.AuthorityPhase(from)}
		_, err := enrolment().RotateAuthority(t.Context(), request)
		must(t, err)
		keep(next)
	}
	return states
}

// noSockets is the directory without what is no file of it.
func noSockets(t *testing.T, dir string) fs.FS {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type()&fs.ModeSocket != 0 {
			err = os.Remove(path)
		}
		return err
	}))
	return os.DirFS(dir)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
