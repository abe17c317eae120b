package mount

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func TestParseSignature(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		code   int
		output string
		want   Signature
	}{
		"ext4": {0, "DEVNAME=/dev/loop0\nLABEL=my\\ data\nUUID=" + oldUUID +
			"\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n",
			Signature{Filesystem: "ext4", UUID: oldUUID, Label: "my data"}},
		"partition table": {0, "DEVNAME=/dev/vda\nPTUUID=x\nPTTYPE=gpt\n",
			Signature{PartitionTable: "gpt"}},
		"blank partition": {0, "DEVNAME=/dev/vda1\nPART_ENTRY_SCHEME=gpt\nPART_ENTRY_UUID=x\n",
			Signature{Blank: true}},
		"nothing": {2, "", Signature{Blank: true}},
		"several": {8, "TYPE=ext4\n", Signature{Ambiguous: true}},
		"value with equals": {0, "TYPE=xfs\nUUID=" + newUUID + "\nLABEL=a=b\n",
			Signature{Filesystem: "xfs", UUID: newUUID, Label: "a=b"}},
	}
	for name, test := range tests {
		if got := parseSignature(test.code, test.output); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestCommentOut(t *testing.T) {
	t.Parallel()
	const note = "note"
	tests := map[string]struct {
		before, after string
		changed       bool
	}{
		"nothing": {"", "", false},
		"others": {"UUID=x / ext4 defaults 0 1\n# /dev/vdb /srv/mariadb ext4\n",
			"UUID=x / ext4 defaults 0 1\n# /dev/vdb /srv/mariadb ext4\n", false},
		"one of several": {"a / ext4\n/dev/vdb\t/srv/mariadb  ext4 defaults 0 2\nb /b xfs\n",
			"a / ext4\n# note\n# /dev/vdb\t/srv/mariadb  ext4 defaults 0 2\nb /b xfs\n", true},
		"without newline": {"LABEL=d /srv/mariadb/ xfs", "# note\n# LABEL=d /srv/mariadb/ xfs",
			true},
		"twice": {"a /srv/mariadb x\nb /srv/mariadb y\n",
			"# note\n# a /srv/mariadb x\n# note\n# b /srv/mariadb y\n", true},
		"a directory more": {"a /srv/mariadb2 x\nb /srv/mariadb/sub y\n",
			"a /srv/mariadb2 x\nb /srv/mariadb/sub y\n", false},
	}
	for name, test := range tests {
		got, changed := commentOut(test.before, "/srv/mariadb", note)
		if got != test.after || changed != test.changed {
			t.Errorf("%s: %q, %v", name, got, changed)
		}
		if again, changed := commentOut(got, "/srv/mariadb", note); changed || again != got {
			t.Errorf("%s: again %q", name, again)
		}
	}
	if entry, ok := parseFstabLine(`LABEL=my\040data /srv/with\040space ext4`); !ok ||
		entry.source != "LABEL=my data" || entry.path != "/srv/with space" {
		t.Errorf("entry = %+v", entry)
	}
}

func TestUnitFiles(t *testing.T) {
	t.Parallel()
	volume := volumeUnit("virtio-vol-1", "/srv/mariadb", xfs)
	if unitSetting(volume, "What") != "/dev/disk/by-id/virtio-vol-1" ||
		unitSetting(volume, "Where") != "/srv/mariadb" ||
		!strings.Contains(unitSetting(volume, "Options"), "nouuid") {
		t.Errorf("volume unit:\n%s", volume)
	}
	if strings.Contains(string(volumeUnit("a", "/srv/mariadb", ext4)), "nouuid") {
		t.Error("ext4 knows no nouuid")
	}
	bind := bindUnit("/srv/mariadb/mysql", "/var/lib/mysql", "/srv/mariadb")
	if unitSetting(bind, "BindsTo") != "srv-mariadb.mount" ||
		unitSetting(bind, "What") != "/srv/mariadb/mysql" || unitSetting(bind, "Type") != "none" {
		t.Errorf("bind unit:\n%s", bind)
	}
	if got := bound(boundDropIn([]string{"a.mount", "b.mount"})); !slices.Equal(got,
		[]string{"a.mount", "b.mount"}) {
		t.Errorf("bound = %v", got)
	}
	if got := bound(""); len(got) != 0 {
		t.Errorf("bound of nothing = %v", got)
	}
}

func TestTune2fsField(t *testing.T) {
	t.Parallel()
	const output = "tune2fs 1.47.2 (1-Jan-2025)\nFilesystem features:      has_journal " +
		"metadata_csum\nBlock count:              65536\n"
	if got := tune2fsField(output, "Block count"); got != "65536" {
		t.Errorf("Block count = %q", got)
	}
	if got := tune2fsField(output, "Nothing"); got != "" {
		t.Errorf("Nothing = %q", got)
	}
}

func testMounts(t *testing.T) *Manager {
	t.Helper()
	exec, err := hostexec.New(hostexec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Exec: exec, Units: (*systemd.Manager)(nil), Files: (*systemd.Files)(nil),
		MountPoints: []string{"/srv/mariadb", "/data/*"}, DeviceIDs: []string{"virtio-*"}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	m := testMounts(t)
	for path, want := range map[string]errs.Kind{
		"/srv/mariadb": 0, "/data/a": 0, "/data/a/b": errs.PermissionDenied,
		"/etc": errs.PermissionDenied, "": errs.InvalidArgument, "/": errs.InvalidArgument,
		"srv/mariadb": errs.InvalidArgument, "/srv/mariadb/": errs.InvalidArgument,
		"/srv/../etc": errs.InvalidArgument, "/data/a b": errs.InvalidArgument,
		"/data/a\nWhat=x": errs.InvalidArgument, "/data/%i": errs.InvalidArgument,
		"/data/" + strings.Repeat("a", 600): errs.InvalidArgument,
	} {
		kindIs(t, path, m.allow.checkPath(path), want)
	}
}

func TestCheckDeviceIDs(t *testing.T) {
	t.Parallel()
	m := testMounts(t)
	for id, want := range map[string]errs.Kind{
		"virtio-vol-1": 0, "virtio-a-part1": 0, "nvme-x": errs.PermissionDenied,
		"": errs.InvalidArgument, "../vda": errs.InvalidArgument, "-x": errs.InvalidArgument,
		"virtio-a/b": errs.InvalidArgument, "virtio-a b": errs.InvalidArgument,
		"virtio-a%i": errs.InvalidArgument, "virtio-..": errs.InvalidArgument,
	} {
		kindIs(t, id, m.allow.checkDeviceIDs("device_ids", []string{id}), want)
	}
}

func TestCheckOwner(t *testing.T) {
	t.Parallel()
	for owner, want := range map[string]errs.Kind{"": 0, "mysql": 0, "_apt": 0,
		"root;": errs.InvalidArgument, "-R": errs.InvalidArgument, "0": errs.InvalidArgument,
		"a:b": errs.InvalidArgument} {
		kindIs(t, owner, checkOwner(owner), want)
	}
}

func kindIs(t *testing.T, what string, err error, want errs.Kind) {
	t.Helper()
	switch {
	case want == 0 && err != nil:
		t.Errorf("%.60q: %v", what, err)
	case want != 0 && (err == nil || errs.KindOf(err) != want):
		t.Errorf("%.60q: %v, want %v", what, err, want)
	}
}
