package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/hostexec"
)

// Device is a block device that is attached to this host.
type Device struct {
	// Path is its node, for example "/dev/vdb".
	Path string
	// Major and Minor are its number.
	Major, Minor uint32
	// IDs are its names below /dev/disk/by-id, sorted.
	IDs []string
	// Serial as the kernel reports it; empty where it has none.
	Serial string
	// SizeBytes is its size.
	SizeBytes int64
	// MountPoints are where it is mounted.
	MountPoints []string
	// Parent is the whole disk's path when this is a partition, DiskIDs are the disk's names.
	Parent  string
	DiskIDs []string
	// Type is "disk", "part" or "loop".
	Type string
	// ReadOnly is true when it cannot be written.
	ReadOnly bool
	// Signature is what probing finds on it.
	Signature
}

const sectorSize = 512

// host is what the kernel and the files of this host say.
type host struct {
	root string // before /dev, /sys, /proc and /etc
	exec *hostexec.Runner
	log  *slog.Logger
}

func (h *host) path(elements ...string) string {
	return filepath.Join(append([]string{h.root, "/"}, elements...)...)
}

// Devices are the attached block devices, sorted by path, with what is on them.
func (m *Manager) Devices(ctx context.Context) ([]Device, error) { return m.host.devices(ctx) }

// devices are the attached block devices, sorted by path: those that the kernel knows and that have
// a node in /dev of the same number. A container's kernel knows those of others as well.
func (h *host) devices(ctx context.Context) ([]Device, error) {
	devices, err := h.attached()
	if err != nil {
		return nil, err
	}
	for i := range devices {
		if devices[i].Signature, err = h.probe(ctx, devices[i].Path); err != nil {
			h.log.Debug("cannot probe a device", "device", devices[i].Path, "error", err)
		}
	}
	return devices, nil
}

// attached are the devices, without their content.
func (h *host) attached() ([]Device, error) {
	entries, err := os.ReadDir(h.path("/sys/class/block"))
	if err != nil {
		return nil, fmt.Errorf("cannot list block devices: %w", err)
	}
	mounts, err := h.mounts()
	if err != nil {
		return nil, err
	}
	ids := h.ids()
	var devices []Device
	for _, entry := range entries {
		device, ok := h.device(entry.Name())
		if !ok {
			continue
		}
		device.IDs = ids[device.number()]
		for _, mount := range mounts {
			if mount.Major == device.Major && mount.Minor == device.Minor {
				device.MountPoints = append(device.MountPoints, mount.Path)
			}
		}
		devices = append(devices, device)
	}
	slices.SortFunc(devices, func(a, b Device) int { return strings.Compare(a.Path, b.Path) })
	return withDisks(devices), nil
}

// withDisks gives partitions the names of their disks.
func withDisks(devices []Device) []Device {
	for i, d := range devices {
		for _, disk := range devices {
			if d.Parent == disk.Path {
				devices[i].DiskIDs = disk.IDs
			}
		}
	}
	return devices
}

// names are those of the device and, for a partition, of its disk: a volume is known by them.
func (d Device) names() []string { return slices.Concat(d.IDs, d.DiskIDs) }

// device reads one entry of /sys/class/block; false for one that is not attached here.
func (h *host) device(name string) (Device, bool) {
	sys := h.path("/sys/class/block", name)
	device := Device{Path: "/dev/" + strings.ReplaceAll(name, "!", "/"), Type: "disk"}
	number := readText(filepath.Join(sys, "dev"))
	if _, err := fmt.Sscanf(number, "%d:%d", &device.Major, &device.Minor); err != nil {
		return Device{}, false
	}
	if rdev, err := blockNumber(h.path(device.Path)); err != nil || rdev != device.number() {
		return Device{}, false
	}
	sectors, err := strconv.ParseInt(readText(filepath.Join(sys, "size")), 10, 64)
	if err != nil || sectors == 0 {
		return Device{}, false // a loop device without a file, a drive without a medium
	}
	device.SizeBytes = sectors * sectorSize
	device.ReadOnly = readText(filepath.Join(sys, "ro")) == "1"
	device.Serial = serial(sys)
	if strings.HasPrefix(name, "loop") {
		device.Type = "loop"
	}
	if readText(filepath.Join(sys, "partition")) != "" {
		device.Type = "part"
		if real, err := filepath.EvalSymlinks(sys); err == nil {
			device.Parent = "/dev/" + filepath.Base(filepath.Dir(real))
		}
	}
	return device, true
}

func (d Device) number() uint64 { return unix.Mkdev(d.Major, d.Minor) }

// ids maps the number of a device to its names below /dev/disk/by-id. A link that points to nothing
// is none.
func (h *host) ids() map[uint64][]string {
	names := map[uint64][]string{}
	entries, err := os.ReadDir(h.path("/dev/disk/by-id"))
	if err != nil {
		return names
	}
	for _, entry := range entries { // sorted by name already
		if number, err := blockNumber(h.path("/dev/disk/by-id", entry.Name())); err == nil {
			names[number] = append(names[number], entry.Name())
		}
	}
	return names
}

var errNoBlockDevice = errors.New("not a block device")

// blockNumber is the number of the block device that the path, or the link, leads to.
func blockNumber(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, errNoBlockDevice
	}
	return stat.Rdev, nil
}

func serial(sys string) string {
	for _, file := range []string{"serial", "device/serial", "device/wwid", "wwid"} {
		if text := readText(filepath.Join(sys, file)); text != "" {
			return strings.ToValidUTF8(text, "?")
		}
	}
	return ""
}

func readText(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
