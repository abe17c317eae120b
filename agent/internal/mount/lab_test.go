//go:build lab

package mount_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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
