package mount

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzSignature reads what blkid says of a device that anybody may have written.
func FuzzSignature(f *testing.F) {
	f.Add(0, "DEVNAME=/dev/loop0\nLABEL=my\\ data\nUUID=x\nTYPE=ext4\n")
	f.Add(0, "PTTYPE=gpt\nLABEL=\\")
	f.Add(2, "")
	f.Add(8, "TYPE=ext4\n")
	f.Fuzz(func(t *testing.T, code int, output string) {
		s := parseSignature(code, output)
		if s.Blank && (s.Filesystem != "" || s.PartitionTable != "" || s.Ambiguous) {
			t.Errorf("%q is blank, and is %+v", output, s)
		}
		if !utf8.ValidString(s.Label) {
			t.Errorf("label %q", s.Label)
		}
	})
}

// FuzzFstab takes a mount point's entries out of any fstab: they are gone, and nothing else is.
func FuzzFstab(f *testing.F) {
	f.Add("UUID=x / ext4 defaults 0 1\n/dev/vdb /srv/mariadb ext4\n")
	f.Add("a /srv/with\\040space xfs\n# b /srv/mariadb y")
	f.Add("a\t/srv/mariadb/\r\n")
	f.Fuzz(func(t *testing.T, content string) {
		const path = "/srv/mariadb"
		got, changed := commentOut(content, path, "note")
		if !changed && got != content {
			t.Errorf("%q became %q without a change", content, got)
		}
		for line := range strings.Lines(got) {
			if entry, ok := parseFstabLine(line); ok && entry.path == path {
				t.Errorf("%q still mounts it: %q", got, line)
			}
		}
		if again, changed := commentOut(got, path, "note"); changed || again != got {
			t.Errorf("%q changed again", got)
		}
	})
}

// FuzzUnitSetting reads a unit file that somebody else may have written.
func FuzzUnitSetting(f *testing.F) {
	f.Add([]byte("[Mount]\nWhat=/dev/disk/by-id/virtio-a\nWhere=/srv/mariadb\n"))
	f.Add([]byte("What\nWhat=\n = x\nWhat = b"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if value := unitSetting(content, "What"); strings.TrimSpace(value) != value ||
			strings.Contains(value, "\n") {
			t.Errorf("%q of %q", value, content)
		}
	})
}

// FuzzChecks refuses or takes paths, device names and UUIDs: what passes is no option, no path that
// leads elsewhere, no second line.
func FuzzChecks(f *testing.F) {
	for _, seed := range []string{"/srv/mariadb", "/srv/../etc", "virtio-vol-1", "--help", "a/b",
		"6f1c9bd4-5d4e-4b0e-9a51-8f6d2b1f7c11", "/srv/a\n", ".."} {
		f.Add(seed)
	}
	a := allowList{mountPoints: []string{"/srv/*"}, deviceIDs: []string{"*"}}
	f.Fuzz(func(t *testing.T, text string) {
		if a.checkPath(text) == nil &&
			(!strings.HasPrefix(text, "/srv/") || strings.Contains(text, "..") &&
				strings.Contains(text, "/../") || strings.ContainsAny(text, "\n\x00")) {
			t.Errorf("path %q passed", text)
		}
		if a.checkDeviceIDs("ids", []string{text}) == nil &&
			(strings.ContainsAny(text, "/\n\x00 ") || strings.HasPrefix(text, "-") ||
				strings.HasPrefix(text, ".")) {
			t.Errorf("device %q passed", text)
		}
	})
}
