package untrusted_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
)

// nobody is who the directory of a test is given to.
var nobody = atomicfile.Owner{UID: 65534, GID: 65534}

// world is a directory that somebody else can write, and one beside it that is not theirs.
type world struct{ inside, outside string }

func newWorld(t *testing.T) (world, *untrusted.Dir) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, which owns what is not to be given away")
	}
	base := t.TempDir()
	w := world{filepath.Join(base, "inside"), filepath.Join(base, "outside")}
	for _, dir := range []string{w.inside, w.outside} {
		must(t, os.Mkdir(dir, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(w.outside, "shadow"), []byte("secret"), 0o600))
	dir, err := untrusted.Open(w.inside)
	must(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	return w, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadsRegularFilesAlone(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t)
	in := func(name string) string { return filepath.Join(w.inside, name) }
	must(t, os.WriteFile(in("small"), []byte("text"), 0o600))
	must(t, os.WriteFile(in("large"), make([]byte, 101), 0o600))
	must(t, os.Symlink(filepath.Join(w.outside, "shadow"), in("link")))
	must(t, os.Symlink(w.outside, in("way")))
	must(t, os.Symlink("small", in("near")))
	must(t, os.Mkdir(in("folder"), 0o700))
	must(t, unix.Mkfifo(in("fifo"), 0o600))
	must(t, unix.Mknod(in("zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	if text, err := dir.ReadFile("small", 100); err != nil || string(text) != "text" {
		t.Errorf("%q %v", text, err)
	}
	for _, name := range []string{"large", "link", "way/shadow", "near", "folder", "fifo", "zero",
		"../outside/shadow", filepath.Join(w.outside, "shadow")} {
		if text, err := dir.ReadFile(name, 100); err == nil {
			t.Errorf("%s: read %q", name, text)
		}
	}
	if _, err := dir.ReadFile("absent", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, name := range []string{"large", "fifo", "zero"} {
		if text, err := untrusted.ReadFile(in(name), 100); err == nil {
			t.Errorf("%s by its path: read %q", name, text)
		}
	}
}

func TestFollowsLinksOfRootAlone(t *testing.T) {
	t.Parallel()
	w, _ := newWorld(t)
	base := filepath.Dir(w.inside)
	must(t, os.Symlink("outside", filepath.Join(base, "by-root")))
	must(t, os.Symlink(w.outside, filepath.Join(w.inside, "by-nobody")))
	must(t, os.Symlink("loop", filepath.Join(base, "loop")))
	must(t, os.Chown(w.inside, nobody.UID, nobody.GID))
	dir, err := untrusted.Open(filepath.Join(base, "by-root"))
	must(t, err)
	if text, err := dir.ReadFile("shadow", 100); err != nil || string(text) != "secret" {
		t.Errorf("%q %v", text, err)
	}
	must(t, dir.Close())
	for _, path := range []string{filepath.Join(w.inside, "by-nobody"),
		filepath.Join(w.inside, "by-nobody/."), filepath.Join(base, "loop")} {
		if dir, err := untrusted.Open(path); !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s: %v %v", path, dir, err)
		}
	}
	if _, err := untrusted.Open(filepath.Join(base, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestWritesInPlaceOfALink(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t)
	must(t, os.Symlink(filepath.Join(w.outside, "shadow"), filepath.Join(w.inside, "mark")))
	must(t, dir.Write("mark", []byte("new"), 0o644))
	if text, err := dir.ReadFile("mark", 10); err != nil || string(text) != "new" {
		t.Errorf("%q %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(w.outside, "shadow")); err != nil ||
		string(text) != "secret" {
		t.Errorf("%q %v", text, err)
	}
	must(t, os.Symlink(w.outside, filepath.Join(w.inside, "way")))
	if _, made, err := dir.MakeSub("way/new", 0o755); err == nil || made {
		t.Error("made a directory through a link")
	}
	sub, made, err := dir.MakeSub("a/b", 0o755)
	if err != nil || !made || sub.Path() != filepath.Join(w.inside, "a/b") {
		t.Fatal(made, err)
	}
	must(t, sub.Write("x", nil, 0o600))
	must(t, sub.Close())
	must(t, dir.RemoveAll("way"))
	must(t, dir.RemoveAll("a"))
	must(t, dir.RemoveAll("a"))
	if entries, err := dir.Entries(); err != nil || len(entries) != 1 {
		t.Error(entries, err)
	}
	w.untouched(t)
}

func TestGivesAwayWhatIsInside(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t)
	must(t, os.MkdirAll(filepath.Join(w.inside, "a/b"), 0o700))
	for _, name := range []string{"a/b/file", "kept", "a/file"} {
		must(t, os.WriteFile(filepath.Join(w.inside, name), nil, 0o600))
	}
	must(t, os.Symlink(filepath.Join(w.outside, "shadow"), filepath.Join(w.inside, "link")))
	kept := func(name string) bool { return name == "kept" }
	for _, want := range []int{6, 0} {
		if count, err := dir.OwnAll(t.Context(), nobody, kept); err != nil || count != want {
			t.Errorf("%d files, not %d: %v", count, want, err)
		}
	}
	if uid := ownerOf(t, filepath.Join(w.inside, "a/b/file")); uid != nobody.UID {
		t.Error(uid)
	}
	if uid := ownerOf(t, filepath.Join(w.inside, "kept")); uid != 0 {
		t.Error(uid)
	}
	must(t, os.Link(filepath.Join(w.outside, "shadow"), filepath.Join(w.inside, "second")))
	if _, err := dir.OwnAll(t.Context(), nobody, kept); err == nil {
		t.Error("gave away a file that has a name outside")
	}
	w.untouched(t)
}

func TestKeepsOthersOut(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t)
	must(t, os.Chown(w.inside, nobody.UID, nobody.GID))
	must(t, os.Chmod(w.inside, 0o777))
	for _, want := range []bool{true, false} {
		if changed, err := dir.Keep(atomicfile.Owner{}); err != nil || changed != want {
			t.Error(changed, err)
		}
	}
	info, err := os.Stat(w.inside)
	must(t, err)
	if uid := ownerOf(t, w.inside); uid != 0 || info.Mode().Perm() != 0o755 {
		t.Error(uid, info.Mode())
	}
}

// TestNamesThatSwap has somebody exchange a directory for a link to another one all the time, while
// everything inside is given away, read and written.
func TestNamesThatSwap(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t)
	real, link := filepath.Join(w.inside, "real"), filepath.Join(w.inside, "link")
	must(t, os.Mkdir(real, 0o755))
	for _, name := range []string{"shadow", "other"} {
		must(t, os.WriteFile(filepath.Join(real, name), nil, 0o600))
	}
	must(t, os.Symlink(w.outside, link))
	ctx, stop := context.WithTimeout(t.Context(), swapTime())
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for ctx.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, real, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
		}
	})
	through := 0
	for ctx.Err() == nil {
		_, _ = dir.OwnAll(ctx, nobody, nil)
		_, _ = dir.OwnAll(ctx, atomicfile.Owner{}, nil)
		if text, err := dir.ReadFile("real/shadow", 100); err == nil {
			through++
			if len(text) > 0 {
				t.Errorf("read %q from outside", text)
			}
		}
		if sub, err := dir.Sub("real"); err == nil {
			_ = sub.Write("written", nil, 0o644)
			_ = sub.RemoveAll("other")
			_ = sub.Close()
		}
	}
	stop()
	swaps.Wait()
	if through == 0 {
		t.Error("the directory was never there: nothing was tried")
	}
	w.untouched(t)
}

// swapTime is how long names swap; UNTRUSTED_SWAP says another time.
func swapTime() time.Duration {
	if long, err := time.ParseDuration(os.Getenv("UNTRUSTED_SWAP")); err == nil {
		return long
	}
	return 2 * time.Second
}

// untouched says what of the outside has changed.
func (w world) untouched(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(w.outside)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	for _, path := range []string{w.outside, filepath.Join(w.outside, "shadow")} {
		info, err := os.Lstat(path)
		must(t, err)
		want := fs.FileMode(0o600)
		if info.IsDir() {
			want = 0o755
		}
		if uid := ownerOf(t, path); uid != 0 || info.Mode().Perm() != want {
			t.Errorf("%s: owner %d, mode %v", path, uid, info.Mode())
		}
	}
}

func ownerOf(t *testing.T, path string) int {
	t.Helper()
	var stat unix.Stat_t
	must(t, unix.Lstat(path, &stat))
	return int(stat.Uid)
}

// TestGivesARegularFileAway: one name is given, where it is no link and has no name elsewhere.
func TestGivesARegularFileAway(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t)
	must(t, os.WriteFile(filepath.Join(w.inside, "file"), nil, 0o600))
	must(t, os.Symlink(filepath.Join(w.outside, "shadow"), filepath.Join(w.inside, "link")))
	must(t, os.Link(filepath.Join(w.outside, "shadow"), filepath.Join(w.inside, "second")))
	for _, want := range []bool{true, false} {
		if did, err := dir.OwnFile("file", nobody); err != nil || did != want {
			t.Errorf("%t, not %t: %v", did, want, err)
		}
	}
	if uid := ownerOf(t, filepath.Join(w.inside, "file")); uid != nobody.UID {
		t.Error(uid)
	}
	for _, name := range []string{"link", "second", "../outside/shadow", "absent"} {
		if did, err := dir.OwnFile(name, nobody); err == nil || did {
			t.Errorf("%s: %t", name, did)
		}
	}
	w.untouched(t)
}
