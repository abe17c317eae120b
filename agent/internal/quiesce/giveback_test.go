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

func TestWhatAProcessHasStartedIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	g := giveBack(t, "echo Nobody asked for it >&2; exit 1")
	g.Saw = "success exited 0"
	if err := g.Do(t.Context()); err != nil {
		t.Error(err)
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

// A freeze has no owner. What is thawed for good is not thawed again when the rest is repeated, and
// what the process never froze is not thawed at all.
func TestOnlyWhatTheProcessFrozeIsThawed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mark, refused bool
		left          recovery
	}{
		"frozen":                        {true, true, recovery{Run: "run", Marked: true}},
		"not frozen":                    {false, false, recovery{Run: "run", Marked: true}},
		"a process of an older version": {false, true, recovery{Run: "run"}},
		"another process's word":        {false, true, recovery{Run: "other", Marked: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := giveBack(t, "")
			g.Mount = filepath.Join(g.Dir, "file") // which cannot be thawed
			files := []string{g.Mount}
			if test.mark {
				files = append(files, frozenFile(g.Dir))
			}
			for _, file := range files {
				if err := atomicfile.Write(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := atomicfile.WriteJSON(recoveryFile(g.Dir), test.left); err != nil {
				t.Fatal(err)
			}
			if err := g.Do(t.Context()); (err != nil) != test.refused {
				t.Errorf("thawed: %v", err)
			}
			_, err := os.Stat(frozenFile(g.Dir))
			if (err == nil) != test.mark {
				t.Errorf("the marker: %v", err)
			}
		})
	}
}

func TestAThawThatCountsIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	g := giveBack(t, "exit 1") // MariaDB cannot be started yet
	g.Mount = "/proc"          // which thaws, as far as the kernel says
	if err := atomicfile.WriteJSON(recoveryFile(g.Dir),
		recovery{Run: g.Run, Marked: true}); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(frozenFile(g.Dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Do(t.Context()); err == nil || g.mayBeFrozen() {
		t.Errorf("may be frozen: %t; %v", g.mayBeFrozen(), err)
	}
}
