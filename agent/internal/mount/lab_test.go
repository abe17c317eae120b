//go:build lab

package mount_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	dataPath = "/srv/mariadb"
	bindPath = "/var/lib/mysql"
	dataUnit = "srv-mariadb.mount"
	uuidA    = "11111111-1111-4111-8111-111111111111"
	uuidB    = "22222222-2222-4222-8222-222222222222"
	nonceA   = "0123456789abcdef0123456789abcdef"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(m, lab.Options{Agent: true, Environ: os.Environ()}))
}

type host struct {
	units  *systemd.Manager
	mounts *mount.Manager
}

// newHost has an agent's parts, and a host without traces of the test before.
func newHost(t *testing.T) host {
	t.Helper()
	exec, err := hostexec.New(hostexec.Config{})
	if err != nil {
		t.Fatal(err)
	}
	allow, err := systemd.NewAllowList([]string{"mariadb.service", "*.mount", "t-*.service"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	units, err := systemd.New(systemd.Config{Exec: exec, Allow: allow, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := mount.New(mount.Config{Exec: exec, Units: units, Files: units.Files,
		MountPoints: []string{dataPath, bindPath}, Log: log,
		RuntimeDir: "/run/understudy-agent", GuardExec: []string{guard},
		BusyPatience: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lab.Try("systemctl", "stop", "mariadb.service", "var-lib-mysql.mount", dataUnit)
		for _, path := range []string{bindPath, dataPath} {
			for unix.Unmount(path, unix.MNT_DETACH) == nil {
			}
		}
		for _, pattern := range []string{"srv-mariadb.mount", "var-lib-mysql.mount",
			"*.wants/srv-mariadb.mount", "*.wants/var-lib-mysql.mount", "*.d/understudy.conf"} {
			found, _ := filepath.Glob("/etc/systemd/system/" + pattern)
			for _, file := range found {
				os.Remove(file)
			}
		}
		os.WriteFile("/etc/fstab", nil, 0o644)
		lab.Try("systemctl", "daemon-reload")
		lab.Try("systemctl", "reset-failed")
		units.Close()
	})
	return host{units, mounts}
}

// formatted is a volume with a filesystem that holds a nonce and a datadir, as a snapshot's volume
// does.
func formatted(t *testing.T, name, filesystem string) *lab.Volume {
	t.Helper()
	size := int64(64)
	if filesystem == "xfs" {
		size = 320
	}
	v := lab.NewVolume(t, name, size)
	if filesystem == "xfs" {
		lab.Run(t, "mkfs.xfs", "-q", "-m", "uuid="+uuidA, v.Device)
	} else {
		lab.Run(t, "mkfs.ext4", "-q", "-U", uuidA, v.Device)
	}
	fill(t, v.Device)
	return v
}

func fill(t *testing.T, device string) {
	t.Helper()
	dir := t.TempDir()
	lab.Run(t, "mount", device, dir)
	lab.Write(t, dir+"/.understudy/nonce", nonceA+"\n")
	lab.Write(t, dir+"/mysql/ibdata1", strings.Repeat("data", 1000))
	lab.Run(t, "umount", dir)
}

func request(v *lab.Volume) mount.Request {
	return mount.Request{DeviceIDs: []string{v.ID}, Path: dataPath, UUID: uuidB, SourceUUID: uuidA,
		Nonce: nonceA, Grow: true, Owner: "root",
		BoundUnits: []string{"mariadb.service"}, StopUnits: []string{"mariadb.service"},
		DeviceTimeout: 5 * time.Second}
}

// ensure mounts, looks at the host with the host's own tools, and sees that doing it again changes
// nothing.
func (h host) ensure(t *testing.T, v *lab.Volume, r mount.Request) mount.Result {
	t.Helper()
	result, err := h.mounts.Ensure(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.proved(t, v, r)
	again, err := h.mounts.Ensure(t.Context(), r, nil)
	if err != nil || len(again.Changes) != 0 {
		t.Errorf("again: %q, %v", again.Changes, err)
	}
	return result
}

func (h host) proved(t *testing.T, v *lab.Volume, r mount.Request) {
	t.Helper()
	if got := lab.Run(t, "findmnt", "-n", "-o", "SOURCE", "--mountpoint",
		dataPath); !strings.HasPrefix(got, v.Device) || strings.Contains(got, "\n") {
		t.Errorf("%s is on %s, want %s", dataPath, got, v.Device)
	}
	if got := lab.Run(t, "systemctl", "is-enabled", dataUnit); got != "enabled" {
		t.Errorf("%s is %s", dataUnit, got)
	}
	if got := lab.Run(t, "systemctl", "show", "-P", "What", dataUnit); r.UUID != "" &&
		!strings.HasPrefix(got, v.Device) && !strings.Contains(got, v.ID) {
		t.Errorf("What = %s", got)
	}
	if data, err := os.ReadFile(dataPath + "/mysql/ibdata1"); err != nil || len(data) != 4000 {
		t.Errorf("the data is not there: %v", err)
	}
	if lab.Run(t, "systemctl", "show", "-P", "BindsTo",
		"mariadb.service"); len(r.BoundUnits) > 0 {
		if got := lab.Run(t, "systemctl", "show", "-P", "BindsTo",
			"mariadb.service"); !strings.Contains(got, dataUnit) {
			t.Errorf("mariadb.service is bound to %q", got)
		}
	}
}

func want(t *testing.T, err error, kind errs.Kind, reason errorsv1.Reason) {
	t.Helper()
	if !errors.Is(err, kind) || errs.ReasonOf(err) != reason {
		t.Fatalf("error = %v (%v), want %v with %v", err, errs.ReasonOf(err), kind, reason)
	}
	if errs.HintOf(err).String() == "" {
		t.Errorf("no hint in: %v", err)
	}
}

func changed(result mount.Result, what string) bool {
	return strings.Contains(strings.Join(result.Changes, "\n"), what)
}

func TestAVolumeOfASnapshot(t *testing.T) {
	for _, filesystem := range []string{"ext4", "xfs"} {
		t.Run(filesystem, func(t *testing.T) {
			h := newHost(t)
			v := formatted(t, "vol-1", filesystem)
			size := int64(128)
			if filesystem == "xfs" {
				size = 400
			}
			v.Grow(t, size)
			result := h.ensure(t, v, request(v))
			for _, what := range []string{"new UUID " + uuidB, "wrote srv-mariadb.mount", "mounted",
				"grown to", "bound mariadb.service"} {
				if !changed(result, what) {
					t.Errorf("no %q in %q", what, result.Changes)
				}
			}
			if m := result.Mount; m.UUID != uuidB || m.Nonce != nonceA ||
				m.Filesystem != filesystem || !m.Enabled || !m.UnitSourceExists ||
				m.DeviceIDs[0] != v.ID {
				t.Errorf("mount = %+v", m)
			}
		})
	}
}

func TestAPartition(t *testing.T) {
	h := newHost(t)
	disk := lab.NewVolume(t, "vol-p", 100)
	part := disk.Partition(t)
	lab.Run(t, "mkfs.ext4", "-q", "-U", uuidA, part)
	fill(t, part)
	r := request(disk)
	r.Grow = false
	result, err := h.mounts.Ensure(t.Context(), r, nil)
	if err != nil || result.Mount.Device != part {
		t.Fatalf("mount = %+v, %v", result.Mount, err)
	}
}

func TestTheDefaultVolumeIsGone(t *testing.T) { // H3
	for _, seeded := range []string{"unit", "fstab", "fstab by UUID", "masked"} {
		t.Run(seeded, func(t *testing.T) {
			h := newHost(t)
			v := formatted(t, "vol-new", "ext4")
			switch seeded {
			case "unit":
				lab.Write(t, "/etc/systemd/system/"+dataUnit,
					"[Mount]\nWhat=/dev/disk/by-id/virtio-vol-default\nWhere="+dataPath+
						"\nType=ext4\n[Install]\nWantedBy=multi-user.target\n")
				lab.Run(t, "systemctl", "daemon-reload")
				lab.Run(t, "systemctl", "enable", dataUnit)
			case "fstab":
				lab.Write(t, "/etc/fstab", "# mine\n/dev/disk/by-id/virtio-vol-default "+
					dataPath+" ext4 defaults 0 2\nproc /proc proc defaults 0 0\n")
			case "fstab by UUID":
				lab.Write(t, "/etc/fstab", "UUID="+uuidB+" "+dataPath+" ext4 defaults 0 2\n")
			case "masked":
				lab.Run(t, "systemctl", "mask", dataUnit)
			}
			lab.Run(t, "systemctl", "daemon-reload")
			result := h.ensure(t, v, request(v))
			if seeded != "masked" && !changed(result, "replaced stale source") {
				t.Errorf("changes = %q", result.Changes)
			}
			if fstab, _ := os.ReadFile("/etc/fstab"); strings.HasPrefix(seeded, "fstab") {
				for line := range strings.Lines(string(fstab)) {
					if strings.Contains(line, dataPath) && !strings.HasPrefix(line, "#") {
						t.Errorf("fstab still says %q", line)
					}
				}
			}
		})
	}
}

func TestTheDefaultVolumeIsStillMounted(t *testing.T) {
	h := newHost(t)
	old := formatted(t, "vol-old", "ext4")
	lab.Write(t, "/etc/systemd/system/"+dataUnit,
		"[Mount]\nWhat=/dev/disk/by-id/virtio-vol-old\nWhere="+dataPath+"\nType=ext4\n")
	lab.Run(t, "systemctl", "daemon-reload")
	lab.Run(t, "systemctl", "start", dataUnit)
	v := formatted(t, "vol-next", "ext4")
	r := request(v)
	_, err := h.mounts.Ensure(t.Context(), r, nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE)
	if got := lab.Run(t, "findmnt", "-n", "-o", "SOURCE", "--mountpoint",
		dataPath); got != old.Device {
		t.Fatalf("a refusal changed the mount: %s", got)
	}
	t.Run("detached while mounted", func(t *testing.T) {
		old.Detach(t)
		h.ensure(t, v, r)
	})
}

func TestAVolumeThatMayBeReplaced(t *testing.T) {
	h := newHost(t)
	old := formatted(t, "vol-old", "ext4")
	h.ensure(t, old, mount.Request{DeviceIDs: []string{old.ID}, Path: dataPath})
	v := formatted(t, "vol-next", "ext4")
	r := request(v)
	r.ReplaceIDs = []string{old.ID}
	result := h.ensure(t, v, r)
	if !changed(result, "replaced source /dev/disk/by-id/virtio-vol-old") ||
		!changed(result, "unmounted") {
		t.Errorf("changes = %q", result.Changes)
	}
}

func TestADeviceThatComesLate(t *testing.T) { // H4
	h := newHost(t)
	v := formatted(t, "vol-late", "ext4")
	v.Detach(t)
	r := request(v)
	r.DeviceTimeout = 30 * time.Second
	waiting := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		_, err := h.mounts.Ensure(t.Context(), r, func(text string) {
			if strings.HasPrefix(text, "waiting for the device") {
				select {
				case waiting <- struct{}{}:
				default:
				}
			}
		})
		done <- err
	}()
	<-waiting
	v.Attach(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	h.proved(t, v, r)
}

func TestNoDevice(t *testing.T) {
	h := newHost(t)
	other := formatted(t, "vol-other", "ext4")
	_, err := h.mounts.Ensure(t.Context(), mount.Request{DeviceIDs: []string{"virtio-vol-none"},
		Path: dataPath, DeviceTimeout: time.Second}, nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_DEVICE_MISSING)
	if !strings.Contains(err.Error(), other.ID) {
		t.Errorf("error does not say what is attached: %v", err)
	}
}

func TestTwins(t *testing.T) { // H5
	for _, filesystem := range []string{"ext4", "xfs"} {
		t.Run(filesystem, func(t *testing.T) {
			h := newHost(t)
			original := formatted(t, "vol-orig", filesystem)
			v := original.Copy(t, "vol-copy")
			dir := t.TempDir()
			lab.Run(t, "mount", original.Device, dir)
			defer lab.Run(t, "umount", dir)
			r := request(v)
			result := h.ensure(t, v, r)
			if !strings.Contains(strings.Join(result.Found, "\n"),
				original.Device+" (virtio-vol-orig) has the same UUID") {
				t.Errorf("found = %q", result.Found)
			}
		})
	}
}

func TestWrongVolumes(t *testing.T) {
	blank := func(t *testing.T) *lab.Volume { return lab.NewVolume(t, "vol-w", 64) }
	data := func(t *testing.T) *lab.Volume { return formatted(t, "vol-w", "ext4") }
	swap := func(t *testing.T) *lab.Volume {
		v := blank(t)
		lab.Run(t, "mkswap",
			v.Device)
		return v
	}
	tests := map[string]struct {
		volume func(*testing.T) *lab.Volume
		change func(*mount.Request)
		reason errorsv1.Reason
	}{
		"H8 blank": {blank, nil, errorsv1.Reason_REASON_FILESYSTEM_MISSING},
		"swap":     {swap, nil, errorsv1.Reason_REASON_DEVICE_WRONG},
		"H6 another UUID": {data,
			func(r *mount.Request) { r.SourceUUID = "33333333-3333-4333-8333-333333333333" },
			errorsv1.Reason_REASON_DEVICE_WRONG},
		"H6 another nonce": {data, func(r *mount.Request) { r.Nonce = strings.Repeat("f", 32) },
			errorsv1.Reason_REASON_NONCE_MISMATCH},
		"another filesystem": {data, func(r *mount.Request) { r.Filesystem = "xfs" },
			errorsv1.Reason_REASON_DEVICE_WRONG},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := test.volume(t)
			r := request(v)
			if test.change != nil {
				test.change(&r)
			}
			before, _ := lab.Try("blkid", "-p", "-o", "export", v.Device)
			_, err := h.mounts.Ensure(t.Context(), r, nil)
			want(t, err, errs.FailedPrecondition, test.reason)
			if after, _ := lab.Try("blkid", "-p", "-o", "export", v.Device); after != before {
				t.Errorf("a refusal changed the device:\n%s\n%s", before, after)
			}
			if out, err := lab.Try("findmnt", "--mountpoint", dataPath); err == nil {
				t.Errorf("a refusal left a mount: %s", out)
			}
		})
	}
}

func TestDamage(t *testing.T) { // H7
	t.Run("corrected", func(t *testing.T) {
		h := newHost(t)
		v := formatted(t, "vol-d", "ext4")
		// A wrong count of free blocks is what a crash leaves behind.
		lab.Run(t, "debugfs", "-w", "-R", "set_super_value free_blocks_count 1", v.Device)
		lab.Run(t, "debugfs", "-w", "-R", "set_super_value state 0", v.Device)
		if result := h.ensure(t, v, request(v)); !changed(result, "corrected by e2fsck") {
			t.Errorf("changes = %q", result.Changes)
		}
	})
	t.Run("beyond correction", func(t *testing.T) {
		h := newHost(t)
		v := formatted(t, "vol-d", "ext4")
		lab.Run(t, "debugfs", "-w", "-R", "clri /mysql", v.Device)
		_, err := h.mounts.Ensure(t.Context(), request(v), nil)
		want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_FILESYSTEM_BROKEN)
	})
	t.Run("xfs", func(t *testing.T) {
		h := newHost(t)
		v := formatted(t, "vol-d", "xfs")
		lab.Run(t, "xfs_db", "-x", "-c", "agf 0", "-c", "write -d freeblks 1", v.Device)
		_, err := h.mounts.Ensure(t.Context(), request(v), nil)
		want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_FILESYSTEM_BROKEN)
	})
}

func TestFilesUnderTheMountPoint(t *testing.T) { // H9
	h := newHost(t)
	lab.Write(t, dataPath+"/leftover", "x")
	t.Cleanup(func() { os.Remove(dataPath + "/leftover") })
	v := formatted(t, "vol-1", "ext4")
	if result := h.ensure(t, v, request(v)); !strings.Contains(strings.Join(result.Found, "\n"),
		"1 files in /srv/mariadb are hidden") {
		t.Errorf("found = %q", result.Found)
	}
}

func TestMountedElsewhere(t *testing.T) { // H9
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	dir := t.TempDir()
	lab.Run(t, "mount", v.Device, dir)
	defer lab.Run(t, "umount", dir)
	_, err := h.mounts.Ensure(t.Context(), request(v), nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_DEVICE_BUSY)
}

func TestMountedByHandBeforeItWasPrepared(t *testing.T) {
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	if err := os.MkdirAll(dataPath, 0o755); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mount", v.Device, dataPath)
	if result := h.ensure(t, v, request(v)); !changed(result, "unmounted") ||
		!changed(result, "new UUID") {
		t.Errorf("changes = %q", result.Changes)
	}
}

func TestBusy(t *testing.T) { // H9
	h := newHost(t)
	old := formatted(t, "vol-old", "ext4")
	h.ensure(t, old, mount.Request{DeviceIDs: []string{old.ID}, Path: dataPath})
	holder, err := os.Open(dataPath + "/mysql/ibdata1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.mounts.EnsureUnmounted(t.Context(), dataPath, nil, nil)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_MOUNT_BUSY)
	if !strings.Contains(err.Error(), "open file") {
		t.Errorf("error does not name the holder: %v", err)
	}
	go func() { // somebody who lets go a little later is waited for
		<-time.After(time.Second)
		holder.Close()
	}()
	if _, err := h.mounts.EnsureUnmounted(t.Context(), dataPath, []string{old.ID},
		nil); err != nil {
		t.Fatal(err)
	}
	if changes, err := h.mounts.EnsureUnmounted(t.Context(), dataPath, nil, nil); err != nil ||
		len(changes) != 0 {
		t.Errorf("again: %q, %v", changes, err)
	}
	if _, err := os.Stat("/etc/systemd/system/" + dataUnit); err == nil {
		t.Error("the unit file is still there")
	}
}

func TestBind(t *testing.T) { // H13
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	h.ensure(t, v, request(v))
	lab.Write(t, bindPath+"/of-the-image", "x")
	lab.Run(t, "chown", "-R", "4242:4242", dataPath+"/mysql")
	r := mount.BindRequest{Source: dataPath + "/mysql", Path: bindPath, Owner: "mysql",
		BoundUnits: []string{"mariadb.service"}, StopUnits: []string{"mariadb.service"}}
	m, changes, err := h.mounts.EnsureBind(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if m.Root != "/mysql" || m.Device != v.Device || !strings.Contains(strings.Join(changes, "\n"),
		"owner of 2 files set to mysql") {
		t.Errorf("mount = %+v, changes = %q", m, changes)
	}
	if owner := lab.Run(t, "stat", "-c", "%U:%G", bindPath+"/ibdata1"); owner != "mysql:mysql" {
		t.Errorf("owner = %s", owner)
	}
	if got := lab.Run(t, "systemctl", "show", "-P", "BindsTo",
		"mariadb.service"); !strings.Contains(got, dataUnit) ||
		!strings.Contains(got, "var-lib-mysql.mount") {
		t.Errorf("bound to %q", got)
	}
	if _, changes, err := h.mounts.EnsureBind(t.Context(), r); err != nil || len(changes) != 0 {
		t.Errorf("again: %q, %v", changes, err)
	}
	lab.Run(t, "systemctl", "stop", dataUnit)
	if out, err := lab.Try("findmnt", "--mountpoint", bindPath); err == nil {
		t.Errorf("the bind mount outlives its volume: %s", out)
	}
	if _, _, err := h.mounts.EnsureBind(t.Context(), r); !errors.Is(err, errs.FailedPrecondition) ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_NOT_MOUNTED {
		t.Errorf("a directory that is on no volume is bound: %v", err)
	}
	h.ensure(t, v, request(v))
	if _, _, err := h.mounts.EnsureBind(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestSwapUnderABind(t *testing.T) {
	h := newHost(t)
	old := formatted(t, "vol-old", "ext4")
	h.ensure(t, old, mount.Request{DeviceIDs: []string{old.ID}, Path: dataPath})
	bind := mount.BindRequest{Source: dataPath + "/mysql", Path: bindPath, Owner: "mysql"}
	if _, _, err := h.mounts.EnsureBind(t.Context(), bind); err != nil {
		t.Fatal(err)
	}
	v := formatted(t, "vol-next", "ext4")
	r := request(v)
	r.ReplaceIDs = []string{old.ID}
	h.ensure(t, v, r)
	m, _, err := h.mounts.EnsureBind(t.Context(), bind)
	if err != nil || m.Device != v.Device {
		t.Fatalf("bind is on %s, %v", m.Device, err)
	}
}

func TestFormat(t *testing.T) {
	for _, filesystem := range []string{"ext4", "xfs"} {
		t.Run(filesystem, func(t *testing.T) {
			h := newHost(t)
			v := lab.NewVolume(t, "vol-f", 320)
			r := mount.FormatRequest{DeviceIDs: []string{v.ID}, Filesystem: filesystem, UUID: uuidA,
				RecordedBlank: true}
			device, formatted, err := h.mounts.Format(t.Context(), r)
			if err != nil || !formatted || device.UUID != uuidA || device.Filesystem != filesystem {
				t.Fatalf("%+v, %v, %v", device, formatted, err)
			}
			if _, formatted, err := h.mounts.Format(t.Context(), r); err != nil || formatted {
				t.Errorf("again: %v, %v", formatted, err)
			}
			r.UUID = uuidB
			_, _, err = h.mounts.Format(t.Context(), r)
			want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_DEVICE_NOT_BLANK)
		})
	}
}

func TestWhatIsNotBlankIsNotFormatted(t *testing.T) { // invariant 5
	tests := map[string]func(t *testing.T, v *lab.Volume){
		"first MiB": func(t *testing.T, v *lab.Volume) { poke(t, v, 700_000) },
		"last MiB":  func(t *testing.T, v *lab.Volume) { poke(t, v, 64<<20-10) },
		"swap": func(t *testing.T, v *lab.Volume) {
			lab.Run(t, "mkswap",
				v.Device)
		},
		"partition table": func(t *testing.T, v *lab.Volume) { v.Partition(t) },
		"not recorded":    func(*testing.T, *lab.Volume) {},
	}
	for name, plant := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := lab.NewVolume(t, "vol-n", 64)
			plant(t, v)
			before := lab.Run(t, "sha256sum", v.Device)
			_, _, err := h.mounts.Format(t.Context(), mount.FormatRequest{DeviceIDs: []string{v.ID},
				Filesystem: "ext4", UUID: uuidA, RecordedBlank: name != "not recorded"})
			want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_DEVICE_NOT_BLANK)
			if after := lab.Run(t, "sha256sum", v.Device); after != before {
				t.Error("the device was changed")
			}
		})
	}
}

func poke(t *testing.T, v *lab.Volume, offset int64) {
	t.Helper()
	file, err := os.OpenFile(v.Device, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteAt([]byte{1}, offset)
		err = errors.Join(err, file.Sync(), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDevices(t *testing.T) {
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	devices, err := h.mounts.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(devices) != 1 { // the kernel knows the loop devices of everybody on this box
		t.Errorf("devices = %+v", devices)
	}
	if d := devices[0]; d.Path != v.Device || d.IDs[0] != v.ID || d.UUID != uuidA ||
		d.SizeBytes != 64<<20 || d.Blank {
		t.Errorf("device = %+v", d)
	}
}

// TestAChangeOfUUIDThatWasCutOff plants what a power cut leaves in the middle of xfs_admin: it
// writes the log first, then the superblock of each allocation group.
func TestAChangeOfUUIDThatWasCutOff(t *testing.T) {
	for name, restored := range map[string]int{"within the log": 4, "after the log": 4,
		"after the first superblock": 3, "before its end": 1} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			v := formatted(t, "vol-x", "xfs")
			before, log := superblocks(t, v), endOfLog(t, v)
			lab.Run(t, "xfs_admin", "-U", uuidB, v.Device)
			restore(t, v, before, restored)
			if name == "within the log" {
				log.restore(t, v)
			}
			lab.Write(t, "/var/lib/understudy-agent/xfs-uuid/"+v.ID+".json",
				`{"old":"`+uuidA+`","new":"`+uuidB+`"}`)
			h.ensure(t, v, request(v))
			if left, _ := filepath.Glob("/var/lib/understudy-agent/xfs-uuid/*"); len(left) > 0 {
				t.Errorf("records are left: %v", left)
			}
		})
	}
}

const groups = 4

// superblocks are the first sectors of all allocation groups.
func superblocks(t *testing.T, v *lab.Volume) [][]byte {
	t.Helper()
	file, err := os.Open(v.Device)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all [][]byte
	for i := range int64(groups) {
		sector := make([]byte, 512)
		if _, err := file.ReadAt(sector, i*groupBytes(t, v)); err != nil ||
			string(sector[:4]) != "XFSB" {
			t.Fatalf("no superblock in group %d: %v", i, err)
		}
		all = append(all, sector)
	}
	return all
}

func groupBytes(t *testing.T, v *lab.Volume) int64 {
	t.Helper()
	var blocks, size int64
	out := lab.Run(t, "xfs_db", "-r", "-c", "sb 0", "-c", "print agblocks blocksize agcount",
		v.Device)
	var count int
	if _, err := fmt.Sscanf(out, "agblocks = %d\nblocksize = %d\nagcount = %d", &blocks, &size,
		&count); err != nil || count != groups {
		t.Fatalf("%q: %v", out, err)
	}
	return blocks * size
}

// restore puts the last so many superblocks back.
func restore(t *testing.T, v *lab.Volume, before [][]byte, count int) {
	t.Helper()
	size := groupBytes(t, v)
	file, err := os.OpenFile(v.Device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := groups - count; i < groups; i++ {
		if _, err := file.WriteAt(before[i], int64(i)*size); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// span is a part of a device.
type span struct {
	offset  int64
	content []byte
}

// endOfLog is the second half of the log, which is cleared last.
func endOfLog(t *testing.T, v *lab.Volume) span {
	t.Helper()
	var blocks, size int64
	out := lab.Run(t, "xfs_db", "-r", "-c", "sb 0", "-c", "print logblocks blocksize", v.Device)
	if _, err := fmt.Sscanf(out, "logblocks = %d\nblocksize = %d", &blocks, &size); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	out = lab.Run(t, "xfs_db", "-r", "-c", "sb 0", "-c", "addr logstart", "-c", "daddr",
		v.Device)
	words := strings.Fields(out) // "datadev daddr is 327736", or "current daddr is …"
	sector, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	s := span{offset: sector*512 + blocks*size/2, content: make([]byte, blocks*size/2)}
	file, err := os.Open(v.Device)
	if err == nil {
		_, err = file.ReadAt(s.content, s.offset)
		file.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s span) restore(t *testing.T, v *lab.Volume) {
	t.Helper()
	file, err := os.OpenFile(v.Device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(s.content, s.offset)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}
