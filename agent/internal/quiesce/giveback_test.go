package quiesce

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// giveBack is what systemd would run after an offline process, with this script as systemctl.
func giveBack(t *testing.T, systemctl string) GiveBack {
	t.Helper()
	tools := t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "systemctl"), []byte("#!/bin/sh\n"+systemctl),
		0o700); err != nil {
		t.Fatal(err)
	}
	runner, err := hostexec.New(hostexec.Config{Dirs: []string{tools}})
	if err != nil {
		t.Fatal(err)
	}
	return GiveBack{Dir: t.TempDir(), Run: "run", Saw: "signal killed KILL",
		Start: []string{"a.socket", "a.service"}, Exec: runner, Notify: func(string) {}}
}

// TestWhatIsNotGivenBackIsNotDone has systemctl reach nobody, and reach systemd later.
func TestWhatIsNotGivenBackIsNotDone(t *testing.T) {
	t.Parallel()
	g := giveBack(t, "echo Failed to connect to bus >&2; exit 1")
	r := recovery{Run: g.Run}
	err := g.Do(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Failed to connect to bus") {
		t.Errorf("%v", err)
	}
	if why, done := r.exited(g.Dir); done {
		t.Errorf("done: %s", why)
	}
	later := giveBack(t, `echo "$@" >"`+g.Dir+`/asked"`)
	g.Exec = later.Exec
	if err := g.Do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if why, done := r.exited(g.Dir); !done || !strings.Contains(why, "signal KILL") {
		t.Errorf("%t: %s", done, why)
	}
	asked, err := os.ReadFile(filepath.Join(g.Dir, "asked"))
	if want := "--no-block start -- a.socket a.service\n"; err != nil || string(asked) != want {
		t.Errorf("%q, not %q: %v", asked, want, err)
	}
}

// A filesystem that does not thaw does not keep MariaDB from being started.
func TestMariaDBIsStartedWhateverElseFails(t *testing.T) {
	t.Parallel()
	g := giveBack(t, "")
	g.Exec = giveBack(t, `>"`+g.Dir+`/asked"`).Exec
	g.Mount = filepath.Join(g.Dir, "file")
	if err := atomicfile.Write(g.Mount, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Do(t.Context()); err == nil {
		t.Error("a file was thawed")
	}
	if _, err := os.Stat(filepath.Join(g.Dir, "asked")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(exitFile(g.Dir)); err == nil {
		t.Error("it counts as done")
	}
}
