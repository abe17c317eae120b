package mariadb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// TestWhatIsWrittenOntoAVolumeFollowsNoLink plants links on a volume as MariaDB's user can: root
// writes our files through none of them.
func TestWhatIsWrittenOntoAVolumeFollowsNoLink(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, which is who would write through the link")
	}
	for name, write := range map[string]func(v Volume) error{
		"probe":   Volume.touch,
		"nonce":   func(v Volume) error { return v.WriteNonce("0123") },
		"cleaned": func(v Volume) error { return v.mark(cleanedPath, "0123") },
	} {
		v := Volume{Mount: t.TempDir()}
		outside := t.TempDir()
		secret := filepath.Join(outside, name)
		if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		ours := filepath.Join(v.Mount, untrusted.Ours)
		if err := os.Symlink(outside, ours); err != nil {
			t.Fatal(err)
		}
		if err := write(v); err == nil {
			t.Errorf("%s: wrote below a link", name)
		}
		if err := os.Remove(ours); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(ours, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(secret, filepath.Join(ours, name)); err != nil {
			t.Fatal(err)
		}
		if err := write(v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(secret); err != nil || string(text) != "secret" {
			t.Errorf("%s: outside is now %q %v", name, text, err)
		}
	}
}

// TestAnIDIsOfTheMountThatWasFound knows none when another device is mounted there since: what is
// kept under it would be held against that one for as long as it is mounted.
func TestAnIDIsOfTheMountThatWasFound(t *testing.T) {
	t.Parallel()
	v, err := Locate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if again := mountID(v.Mount, v.Number); again != v.MountID {
		t.Errorf("%d, then %d", v.MountID, again)
	}
	if id := mountID(v.Mount, "8:255"); id != 0 {
		t.Errorf("%d for a device that is not mounted", id)
	}
	vs := volumes{}
	vs.uuids.Store(uint64(7), "new")
	for id, want := range map[uint64]string{0: "", 7: "new", 8: ""} {
		if got := vs.filesystemUUID(t.Context(), Volume{MountID: id}); got != want {
			t.Errorf("mount %d: %q, want %q", id, got, want)
		}
	}
}
