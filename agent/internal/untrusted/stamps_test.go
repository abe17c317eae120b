package untrusted_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// tick waits until the kernel's clock for files has moved.
func tick(t *testing.T) {
	t.Helper()
	seen := func() int64 {
		path := filepath.Join(t.TempDir(), "now")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime().UnixNano()
	}
	for before := seen(); seen() == before; {
	}
}

func TestStampsShowEveryChange(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(dir string) error
		top    string // what differs at the top, where it does
		deep   string
	}{
		"nothing": {func(dir string) error {
			_, err := os.ReadFile(filepath.Join(dir, "db/t.ibd"))
			return err
		}, "", ""},
		"same size and time": {func(dir string) error {
			path := filepath.Join(dir, "ibdata1")
			info, err := os.Stat(path)
			if err == nil {
				err = os.WriteFile(path, []byte("B"), 0o600)
			}
			if err == nil {
				err = os.Chtimes(path, info.ModTime(), info.ModTime())
			}
			return err
		}, "ibdata1", "ibdata1"},
		"a file that came and went": {func(dir string) error {
			path := filepath.Join(dir, "ibtmp1")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Remove(path)
		}, ".", "."},
		"a table": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "db/t.ibd"), []byte("B"), 0o600)
		}, "", "db/t.ibd"},
		"a table less": {func(dir string) error {
			return os.Remove(filepath.Join(dir, "db/t.ibd"))
		}, "db", "db"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.TempDir()
			if err := os.Mkdir(filepath.Join(path, "db"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"ibdata1", "db/t.ibd"} {
				if err := os.WriteFile(filepath.Join(path, file), []byte("A"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dir, err := untrusted.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			stamps := func(deep bool) untrusted.Stamps {
				s, err := dir.Stamps(t.Context(), deep)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			top, deep := stamps(false), stamps(true)
			tick(t)
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			if got, _ := top.Differs(stamps(false)); got != test.top {
				t.Errorf("at the top: %q", got)
			}
			if got, differs := deep.Differs(stamps(true)); got != test.deep ||
				differs != (test.deep != "") {
				t.Errorf("deep: %q", got)
			}
		})
	}
}
