package mount

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// FormatRequest says which volume may be formatted.
type FormatRequest struct {
	// DeviceIDs are names below /dev/disk/by-id that the volume has. Required.
	DeviceIDs []string
	// Filesystem is "ext4" or "xfs". Required.
	Filesystem string
	// UUID of the new filesystem. Required.
	UUID string
	// RecordedBlank: the caller's record says that the volume is blank.
	RecordedBlank bool
	// DeviceTimeout is how long to wait for the device; a minute when 0.
	DeviceTimeout time.Duration
}

// Format makes a filesystem on a volume that is recorded blank and that probes blank: no signature,
// no partition table, first and last MiB zero. DEVICE_NOT_BLANK otherwise. One that has the
// filesystem with this UUID was formatted by this very call before. It says whether it formatted.
func (m *Manager) Format(ctx context.Context, r FormatRequest) (Device, bool, error) {
	if err := m.allow.checkDeviceIDs("device_ids", r.DeviceIDs); err != nil {
		return Device{}, false, err
	}
	if !r.RecordedBlank {
		return Device{}, false, refuse(errorsv1.Reason_REASON_DEVICE_NOT_BLANK,
			fmt.Sprintf("cannot format %s: it is not recorded as blank", r.DeviceIDs[0]),
			errs.WithHint("set recorded_blank if your record of the volume says that it is blank"))
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return Device{}, false, err
	}
	defer unlock()
	found, _, err := m.host.await(ctx, r.DeviceIDs, r.DeviceTimeout, nil)
	if err != nil {
		return Device{}, false, err
	}
	device, devices, err := m.host.probed(ctx, found.Path)
	if err != nil {
		return Device{}, false, err
	}
	if device.Filesystem == r.Filesystem && device.UUID == r.UUID {
		return device, false, nil
	}
	if err := provablyBlank(device, devices); err != nil {
		return device, false, fmt.Errorf("cannot format %s: %w", r.DeviceIDs[0], err)
	}
	m.log.Info("making a filesystem", "device", device.Path, "ids", strings.Join(device.IDs, ","),
		"filesystem", r.Filesystem)
	if err := m.filesystems.makeFilesystem(ctx, device, r.Filesystem, r.UUID); err != nil {
		return device, false, err
	}
	device, _, err = m.host.probed(ctx, found.Path)
	return device, true, err
}

// probed is the device at a path, and all devices.
func (h *host) probed(ctx context.Context, path string) (Device, []Device, error) {
	devices, err := h.devices(ctx)
	if err != nil {
		return Device{}, nil, err
	}
	for _, d := range devices {
		if d.Path == path {
			return d, devices, nil
		}
	}
	return Device{}, nil, fmt.Errorf("device %s went away", path)
}

// provablyBlank refuses a device with any sign of data on it.
func provablyBlank(device Device, devices []Device) error {
	why := ""
	switch {
	case !device.Blank || device.Ambiguous:
		why = "it has " + strings.TrimSpace(cmp.Or(device.Filesystem, device.PartitionTable)+" "+
			device.UUID)
	case len(device.MountPoints) > 0:
		why = "it is mounted at " + strings.Join(device.MountPoints, ", ")
	case device.ReadOnly:
		why = "it is read-only"
	}
	for _, d := range devices {
		if d.Parent == device.Path {
			why = "it has the partition " + d.Path
		}
	}
	if why == "" {
		zero, err := zeroed(device.Path)
		if err != nil {
			return fmt.Errorf("cannot read it: %w", err)
		}
		if zero {
			return nil
		}
		why = "its first and last MiB are not all zero"
	}
	return refuse(errorsv1.Reason_REASON_DEVICE_NOT_BLANK, why,
		errs.WithHint("check which volume is attached under that name, or create a new one"),
		errs.Meta("device", device.Path), errs.Meta("uuid", device.UUID),
		errs.Meta("filesystem", device.Filesystem))
}

// Grow grows the filesystem mounted at the path to its device. It says whether it was smaller.
func (m *Manager) Grow(ctx context.Context, path string) (Mount, bool, error) {
	if err := m.allow.checkPath(path); err != nil {
		return Mount{}, false, err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return Mount{}, false, err
	}
	defer unlock()
	mount, err := m.look(ctx, path)
	if err != nil {
		return Mount{}, false, err
	}
	if !mount.Mounted || mount.Device == "" {
		return Mount{}, false,
			refuse(errorsv1.Reason_REASON_NOT_MOUNTED, "no volume is mounted at "+path,
				errs.WithHint("mount one first", errs.Call("EnsureMount", "path", path)))
	}
	if mount.Filesystem != ext4 && mount.Filesystem != xfs {
		return mount, false, refuse(errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			fmt.Sprintf("cannot grow %s: it is %s", path, mount.Filesystem),
			errs.WithHint("use ext4 or xfs"))
	}
	grown, err := m.filesystems.growMounted(ctx, path, mount.Device, mount.Filesystem)
	if err != nil {
		return mount, false, err
	}
	mount, err = m.look(ctx, path)
	return mount, grown, err
}
