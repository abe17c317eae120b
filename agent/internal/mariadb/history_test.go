package mariadb

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// follow is a history in a folder with one binary log, and how it is looked at.
type follow struct {
	t     *testing.T
	dir   string
	state string
	h     *histories
}

func newFollow(t *testing.T) *follow {
	f := &follow{t: t, dir: t.TempDir(), state: filepath.Join(t.TempDir(), "state/history.json")}
	f.restart()
	f.h.mayBegin()
	return f
}

// restart is what a restart of the agent leaves.
func (f *follow) restart() { f.h = &histories{file: f.state, log: slog.New(slog.DiscardHandler)} }

func (f *follow) write(file, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, file), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follow) look(file string, offset int, gtid string, logs logList) string {
	f.t.Helper()
	id, err := f.h.observe(f.dir, logPlace{file, int64(offset), gtid}, logs)
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

func TestHistoryOfABinaryLog(t *testing.T) {
	t.Parallel()
	first := logList{[]string{"b.000001"}, ""}
	begin := strings.Repeat("m", 30)
	now := func(f *follow) string { return f.look("b.000001", 50, "0-1-5", first) }
	for name, test := range map[string]struct {
		change func(f *follow) string
		same   bool
	}{
		"nothing": {now, true},
		"restart": {func(f *follow) string { f.restart(); return now(f) }, true},
		"grown": {func(f *follow) string {
			f.write("b.000001", begin+strings.Repeat("a", 90))
			return f.look("b.000001", 99, "0-1-9", first)
		}, true},
		"in use": {func(f *follow) string {
			f.write("b.000001", begin[:21]+"\x00\x01"+begin[23:]+strings.Repeat("a", 20))
			return now(f)
		}, true},
		"rewound": {func(f *follow) string {
			f.write("b.000001", begin)
			return f.look("b.000001", 30, "", first)
		}, false},
		"a tail that was seen once": {func(f *follow) string {
			f.write("b.000001", begin+strings.Repeat("a", 30))
			f.look("b.000001", 60, "0-1-6", first)
			f.write("b.000001", begin+strings.Repeat("a", 20)+strings.Repeat("b", 20))
			return f.look("b.000001", 70, "0-1-7", first)
		}, false},
		"reset": {func(f *follow) string {
			f.write("b.000001", begin+strings.Repeat("z", 90))
			return f.look("b.000001", 120, "0-1-9", first)
		}, false},
		"purged":   {func(f *follow) string { return f.replaced("b.000002", "0-1-5") }, true},
		"put back": {func(f *follow) string { return f.replaced("b.000002", "0-1-4") }, false},
		"anew":     {func(f *follow) string { return f.replaced("b.000007", "") }, false},
	} {
		f := newFollow(t)
		f.write("b.000001", begin+strings.Repeat("a", 20))
		id := f.look("b.000001", 50, "0-1-5", first)
		if id == "" {
			t.Fatal("no history")
		}
		for range 2 {
			if again := f.look("b.000001", 50, "0-1-5", first); again != id {
				t.Errorf("%s: %s became %s", name, id, again)
			}
		}
		if got := test.change(f); got == "" || (got == id) != test.same {
			t.Errorf("%s: %q was %q", name, got, id)
		}
	}
}

// replaced is after the binary log went, and another one begins at a position.
func (f *follow) replaced(by, begins string) string {
	if err := os.Remove(filepath.Join(f.dir, "b.000001")); err != nil {
		f.t.Fatal(err)
	}
	f.write(by, strings.Repeat("n", 40))
	return f.look(by, 40, "0-1-6", logList{[]string{by}, begins})
}

// TestATornStateIsALostOne has a file of which a crash left half.
func TestATornStateIsALostOne(t *testing.T) {
	t.Parallel()
	f := newFollow(t)
	f.write("b.000001", strings.Repeat("m", 50))
	first := logList{[]string{"b.000001"}, ""}
	if f.look("b.000001", 50, "0-1-5", first) == "" {
		t.Fatal("no history")
	}
	if err := os.WriteFile(f.state, []byte(`{"id": "ABC`), 0o600); err != nil {
		t.Fatal(err)
	}
	f.restart()
	if id := f.look("b.000001", 50, "0-1-5", first); id != "" {
		t.Errorf("history %s without a state", id)
	}
}

func TestHistoryFollowsNoLink(t *testing.T) {
	t.Parallel()
	f := newFollow(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(f.dir, "b.000001")); err != nil {
		t.Fatal(err)
	}
	if id, err := f.h.observe(f.dir, logPlace{"b.000001", 10, ""}, logList{}); err == nil {
		t.Errorf("a link was read: %s", id)
	}
}
