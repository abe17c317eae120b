//go:build lab

package mount_test

import (
	"errors"
	"os"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

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
