package mount

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Decisions are made here, on what was observed, and nothing is touched.

// place is what to do with what is mounted at the mount point now.
type place int

const (
	placeFree  place = iota // nothing is mounted there
	placeRight              // the wanted volume is mounted there
	// the wanted volume is mounted there, but must be taken off to be prepared
	placeAgain
	placeReplace // something else is, that may be taken off
)

// decidePlace decides on what is mounted at the path now.
func decidePlace(now Mount, device Device, r Request) (place, error) {
	switch {
	case !now.Mounted:
		return placeFree, nil
	case now.major == device.Major && now.minor == device.Minor:
		if now.Root == "/" && (r.UUID == "" || now.UUID == r.UUID) {
			return placeRight, nil
		}
		return placeAgain, nil
	case now.gone():
		return placeReplace, nil
	case intersects(now.DeviceIDs, r.ReplaceIDs):
		return placeReplace, nil
	}
	return placeFree, refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
		name(now.Device, now.DeviceIDs, now.Filesystem)+" is mounted there",
		errs.WithHint("unmount it, or name it in replace_device_ids if it may be replaced",
			errs.Call("EnsureUnmounted", "path", now.Path)),
		errs.Meta("device", now.Device),
		errs.Meta("device_ids", strings.Join(now.DeviceIDs, ",")))
}

// decideSource decides on the source that a unit file or fstab names for the path: it says what is
// replaced, "" when nothing is.
func decideSource(source string, means []Device, device Device, r Request) (string, error) {
	switch {
	case source == "":
		return "", nil
	case len(means) == 0:
		return "replaced stale source " + source, nil
	case slices.ContainsFunc(means, func(d Device) bool { return d.Path == device.Path }):
		if strings.HasPrefix(source, "/dev/disk/by-id/") {
			return "", nil
		}
		// The name means the right volume today; after the next attach it may mean another one.
		return "replaced source " + source, nil
	}
	for _, d := range means {
		if !intersects(d.names(), r.ReplaceIDs) {
			return "", refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
				fmt.Sprintf("its unit file or fstab names %s, which is attached",
					name(d.Path, d.IDs, d.Filesystem)),
				errs.WithHint("detach that volume, or name it in replace_device_ids if it may be "+
					"replaced"),
				errs.Meta("source", source))
		}
	}
	return "replaced source " + source, nil
}

// decideDevice refuses a device that must not be mounted; it says whether the filesystem gets a new
// UUID.
func decideDevice(device Device, r Request) (newUUID bool, err error) {
	wrong := func(reason errorsv1.Reason, hint, format string, args ...any) error {
		return refuse(reason, fmt.Sprintf(format, args...), errs.WithHint(hint),
			errs.Meta("device", device.Path), errs.Meta("uuid", device.UUID),
			errs.Meta("filesystem", device.Filesystem))
	}
	switch {
	case device.Ambiguous:
		return false, wrong(errorsv1.Reason_REASON_DEVICE_WRONG,
			"inspect it on the host (wipefs "+device.Path+")",
			"signatures on %s contradict each other", device.Path)
	case device.Filesystem == "":
		return false, wrong(errorsv1.Reason_REASON_FILESYSTEM_MISSING,
			"nothing is formatted here: make the volume from a snapshot that has data, or format "+
				"a blank one with FormatVolume", "%s has no filesystem", device.Path)
	case containers[device.Filesystem] != "":
		return false, wrong(errorsv1.Reason_REASON_DEVICE_WRONG,
			"put the datadir on a volume that has ext4 or xfs itself, and take another snapshot",
			"%s is %s (%s): the filesystem must be on the volume itself", device.Path,
			containers[device.Filesystem], device.Filesystem)
	case device.Filesystem != ext4 && device.Filesystem != xfs || r.Filesystem != "" &&
		device.Filesystem != r.Filesystem:
		return false, wrong(errorsv1.Reason_REASON_DEVICE_WRONG,
			"check which volume is attached under that name",
			"%s has %s, not %s", device.Path, device.Filesystem,
			cmp.Or(r.Filesystem, "ext4 or xfs"))
	case device.ReadOnly:
		return false, wrong(errorsv1.Reason_REASON_DEVICE_WRONG,
			"attach it so that it can be written", "%s is read-only", device.Path)
	case r.UUID != "" && device.UUID == r.UUID:
		return false, nil
	case r.SourceUUID != "" && device.UUID != r.SourceUUID:
		return false, wrong(errorsv1.Reason_REASON_DEVICE_WRONG,
			"another volume is attached under that name: attach the right one",
			"the filesystem on %s has the UUID %s, neither the source's %s nor the new %s",
			device.Path, device.UUID, r.SourceUUID, cmp.Or(r.UUID, "one"))
	}
	return r.UUID != "", nil
}

// mountedElsewhere are the places besides the path itself where the device is mounted and which are
// not ours to take off.
func mountedElsewhere(device Device, path string, ours func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(device.MountPoints),
		func(p string) bool { return p == path || ours(p) })
}

// twins are other devices with the UUID that the device has.
func twins(devices []Device, device Device) []Device {
	return slices.DeleteFunc(slices.Clone(devices), func(d Device) bool {
		return d.Path == device.Path || d.UUID == "" || d.UUID != device.UUID ||
			d.Parent == device.Path || d.Path == device.Parent
	})
}

// partition is the one partition with a filesystem on a disk that has a partition table.
func partition(devices []Device, disk Device) (Device, error) {
	var found []Device
	var kinds []string
	for _, d := range devices {
		if d.Parent != disk.Path {
			continue
		}
		if d.Filesystem == ext4 || d.Filesystem == xfs {
			found = append(found, d)
		}
		kinds = append(kinds, d.Path+" "+cmp.Or(d.Filesystem, "nothing"))
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return Device{}, refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
		fmt.Sprintf("cannot choose what to mount of %s: it has a partition table, and %d "+
			"partitions with ext4 or xfs (%s)", disk.Path, len(found), strings.Join(kinds, ", ")),
		errs.WithHint("name the partition itself: its id ends in -part1, -part2, …"))
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

func name(path string, ids []string, filesystem string) string {
	if path == "" {
		path = cmp.Or(filesystem, "something")
	}
	if len(ids) == 0 {
		return path
	}
	return path + " (" + strings.Join(ids, ", ") + ")"
}
