package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

func TestWriteReplacesAndCreateDoesNot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"one", "two"} {
		if err := atomicfile.Write(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.Create(path, []byte("three"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a file: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "two" {
		t.Errorf("%q %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestNoFolder(t *testing.T) {
	t.Parallel()
	if err := atomicfile.Write(filepath.Join(t.TempDir(), "no", "file"), nil,
		0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestEnsure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	owner := &atomicfile.Owner{UID: os.Getuid(), GID: os.Getgid()}
	for i, step := range []struct {
		text    string
		mode    fs.FileMode
		changed bool
	}{{"one", 0o600, true}, {"one", 0o644, false}, {"two", 0o644, true}} {
		changed, err := atomicfile.Ensure(path, []byte(step.text), step.mode, owner)
		info, statErr := os.Stat(path)
		if err != nil || statErr != nil || changed != step.changed ||
			info.Mode().Perm() != step.mode {
			t.Errorf("step %d: %v %v %v", i, changed, info.Mode(), errors.Join(err, statErr))
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	changed, err := atomicfile.Ensure(link, nil, 0o644, nil)
	info, statErr := os.Lstat(link)
	if err != nil || statErr != nil || !changed || !info.Mode().IsRegular() {
		t.Errorf("a link was not replaced: %v %v", changed, errors.Join(err, statErr))
	}
}

func TestTidyRemovesWhatKilledWritersLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.json", ".a.json.123.tmp", ".b.json.9.tmp", ".c.txt.4.tmp",
		".a.json.tmp", "b.json.1.tmp", ".other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		path string
		left int
	}{{"a.json", 6}, {"*.json", 5}, {"*.json", 5}, {"no/file", 5}} {
		err := atomicfile.Tidy(filepath.Join(dir, step.path))
		left, readErr := os.ReadDir(dir)
		if err != nil || readErr != nil || len(left) != step.left {
			t.Errorf("%s: %v %v", step.path, left, errors.Join(err, readErr))
		}
	}
}
