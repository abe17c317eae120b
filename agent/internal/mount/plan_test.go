package mount

import (
	"slices"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	oldUUID = "11111111-1111-4111-8111-111111111111"
	newUUID = "22222222-2222-4222-8222-222222222222"
)

func wanted() Device {
	return Device{Path: "/dev/vdb", Major: 253, Minor: 16, IDs: []string{"virtio-new"},
		SizeBytes: 1 << 30, Signature: Signature{Filesystem: ext4, UUID: oldUUID}}
}

func ask() Request {
	return Request{DeviceIDs: []string{"virtio-new"}, Path: "/srv/mariadb", UUID: newUUID,
		SourceUUID: oldUUID, ReplaceIDs: []string{"virtio-old"}}
}

func TestDecidePlace(t *testing.T) {
	t.Parallel()
	at := func(device, id, uuid, root string, major, minor uint32) Mount {
		m := Mount{Path: "/srv/mariadb", Mounted: true, Device: device, UUID: uuid, Root: root,
			major: major, minor: minor}
		if id != "" {
			m.DeviceIDs = []string{id}
		}
		return m
	}
	tests := map[string]struct {
		now    Mount
		want   place
		reason errorsv1.Reason
	}{
		"nothing": {Mount{}, placeFree, 0},
		"the wanted one": {at("/dev/vdb", "virtio-new", newUUID, "/", 253, 16),
			placeRight, 0},
		"the wanted one, unprepared": {at("/dev/vdb", "virtio-new", oldUUID, "/", 253, 16),
			placeAgain, 0},
		"a directory of the wanted": {at("/dev/vdb", "virtio-new", newUUID, "/sub", 253, 16),
			placeAgain, 0},
		"one that may be replaced": {at("/dev/vdc", "virtio-old", "", "/", 253, 32),
			placeReplace, 0},
		"one that is gone": {at("", "", "", "/", 253, 48), placeReplace, 0},
		"another one": {at("/dev/vdd", "virtio-other", "", "/", 253, 64), placeFree,
			errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE},
		"a filesystem without device": {at("", "", "", "/", 0, 40), placeFree,
			errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE},
	}
	for name, test := range tests {
		got, err := decidePlace(test.now, wanted(), ask())
		check(t, name, err, test.reason)
		if err == nil && got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	noUUID := ask()
	noUUID.UUID = ""
	if got, err := decidePlace(at("/dev/vdb", "virtio-new", oldUUID, "/", 253, 16), wanted(),
		noUUID); err != nil || got != placeRight {
		t.Errorf("no new UUID asked for: %v, %v", got, err)
	}
}

func TestDecideSource(t *testing.T) {
	t.Parallel()
	old, other := Device{Path: "/dev/vdc", IDs: []string{"virtio-old"}},
		Device{Path: "/dev/vdd", IDs: []string{"virtio-other"}}
	tests := map[string]struct {
		source string
		means  []Device
		want   string
		reason errorsv1.Reason
	}{
		"none": {"", nil, "", 0},
		"gone": {"/dev/disk/by-id/virtio-x", nil,
			"replaced stale source /dev/disk/by-id/virtio-x", 0},
		"right": {"/dev/disk/by-id/virtio-new", []Device{wanted()}, "", 0},
		"right by another name": {"UUID=" + oldUUID, []Device{wanted()},
			"replaced source UUID=" + oldUUID, 0},
		"right and a twin": {"UUID=" + oldUUID, []Device{other, wanted()},
			"replaced source UUID=" + oldUUID, 0},
		"may be replaced": {"/dev/disk/by-id/virtio-old", []Device{old},
			"replaced source /dev/disk/by-id/virtio-old", 0},
		"another": {"/dev/disk/by-id/virtio-other", []Device{other}, "",
			errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE},
		"replaceable or another": {"LABEL=data", []Device{old, other}, "",
			errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE},
	}
	for name, test := range tests {
		got, err := decideSource(test.source, test.means, wanted(), ask())
		check(t, name, err, test.reason)
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestDecideDevice(t *testing.T) {
	t.Parallel()
	change := func(f func(*Device)) Device { d := wanted(); f(&d); return d }
	tests := map[string]struct {
		device Device
		ask    func(*Request)
		fresh  bool
		reason errorsv1.Reason
	}{
		"from a snapshot": {wanted(), nil, true, 0},
		"prepared before": {change(func(d *Device) { d.UUID = newUUID }), nil, false, 0},
		"no new identity": {wanted(), func(r *Request) { r.UUID = "" }, false, 0},
		"any source":      {wanted(), func(r *Request) { r.SourceUUID = "" }, true, 0},
		"another source": {wanted(),
			func(r *Request) { r.SourceUUID = "33333333-3333-4333-8333-333333333333" }, false,
			errorsv1.Reason_REASON_DEVICE_WRONG},
		"blank": {change(func(d *Device) { d.Signature = Signature{Blank: true} }), nil,
			false, errorsv1.Reason_REASON_FILESYSTEM_MISSING},
		"a partition table": {change(
			func(d *Device) { d.Signature = Signature{PartitionTable: "gpt"} }), nil, false,
			errorsv1.Reason_REASON_FILESYSTEM_MISSING},
		"ambiguous": {change(func(d *Device) { d.Signature = Signature{Ambiguous: true} }),
			nil, false, errorsv1.Reason_REASON_DEVICE_WRONG},
		"LVM": {change(func(d *Device) { d.Filesystem = "LVM2_member" }), nil, false,
			errorsv1.Reason_REASON_DEVICE_WRONG},
		"xfs wanted": {wanted(), func(r *Request) { r.Filesystem = xfs }, false,
			errorsv1.Reason_REASON_DEVICE_WRONG},
		"read-only": {change(func(d *Device) { d.ReadOnly = true }), nil, false,
			errorsv1.Reason_REASON_DEVICE_WRONG},
	}
	for name, test := range tests {
		r := ask()
		if test.ask != nil {
			test.ask(&r)
		}
		fresh, err := decideDevice(test.device, r)
		check(t, name, err, test.reason)
		if fresh != test.fresh {
			t.Errorf("%s: new UUID %v", name, fresh)
		}
	}
}

func check(t *testing.T, name string, err error, reason errorsv1.Reason) {
	t.Helper()
	switch {
	case reason == 0 && err != nil:
		t.Errorf("%s: %v", name, err)
	case reason != 0 && (err == nil || errs.ReasonOf(err) != reason ||
		errs.KindOf(err) != errs.FailedPrecondition || errs.HintOf(err).String() == ""):
		t.Errorf("%s: %v, want %v and a hint", name, err, reason)
	}
}

func TestDecideUnmount(t *testing.T) {
	t.Parallel()
	mounted := Mount{Path: "/srv/mariadb", Mounted: true, Device: "/dev/vdb",
		DeviceIDs: []string{"virtio-a"}, major: 253}
	gone := Mount{Path: "/srv/mariadb", Mounted: true, major: 253}
	check(t, "expected", decideUnmount(mounted, []string{"virtio-a", "x"}), 0)
	check(t, "any", decideUnmount(mounted, nil), 0)
	check(t, "nothing", decideUnmount(Mount{}, []string{"x"}), 0)
	check(t, "gone", decideUnmount(gone, []string{"x"}), 0)
	check(t, "another", decideUnmount(mounted, []string{"x"}),
		errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE)
}

func TestTwins(t *testing.T) {
	t.Parallel()
	devices := []Device{wanted(), {Path: "/dev/vdc", Signature: Signature{UUID: oldUUID}},
		{Path: "/dev/vdd"}, {Path: "/dev/vdb1", Parent: "/dev/vdb",
			Signature: Signature{UUID: oldUUID}}}
	if got := twins(devices, wanted()); len(got) != 1 || got[0].Path != "/dev/vdc" {
		t.Errorf("twins = %v", got)
	}
	if got := twins(devices, devices[2]); len(got) != 0 {
		t.Errorf("devices without a UUID are twins: %v", got)
	}
}

func TestPartition(t *testing.T) {
	t.Parallel()
	disk := Device{Path: "/dev/vdb"}
	boot, data := Device{Path: "/dev/vdb1", Parent: "/dev/vdb",
		Signature: Signature{Filesystem: "vfat"}}, Device{Path: "/dev/vdb2", Parent: "/dev/vdb",
		Signature: Signature{Filesystem: xfs}}
	if got, err := partition([]Device{disk, boot, data}, disk); err != nil ||
		got.Path != data.Path {
		t.Errorf("%v, %v", got, err)
	}
	second := data
	second.Path = "/dev/vdb3"
	_, err := partition([]Device{disk, data, second}, disk)
	check(t, "two", err, errorsv1.Reason_REASON_DEVICE_WRONG)
	_, err = partition([]Device{disk, boot}, disk)
	check(t, "none", err, errorsv1.Reason_REASON_DEVICE_WRONG)
}

func TestMountedElsewhere(t *testing.T) {
	t.Parallel()
	d := Device{MountPoints: []string{"/srv/mariadb", "/var/lib/mysql", "/mnt"}}
	if got := mountedElsewhere(d, "/srv/mariadb",
		func(p string) bool { return p == "/var/lib/mysql" }); !slices.Equal(got,
		[]string{"/mnt"}) {
		t.Errorf("elsewhere = %v", got)
	}
}

func TestPartitionHasNamesOfItsDisk(t *testing.T) {
	t.Parallel()
	devices := withDisks([]Device{{Path: "/dev/vdb", IDs: []string{"virtio-a"}},
		{Path: "/dev/vdb1", Parent: "/dev/vdb", IDs: []string{"virtio-a-part1"}},
		{Path: "/dev/vdc", IDs: []string{"virtio-b"}}})
	for i, want := range [][]string{{"virtio-a"}, {"virtio-a-part1", "virtio-a"}, {"virtio-b"}} {
		if got := devices[i].names(); !slices.Equal(got, want) {
			t.Errorf("%s has the names %v, want %v", devices[i].Path, got, want)
		}
	}
}
