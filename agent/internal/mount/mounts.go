package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// entry is one mount of the host, as the kernel sees it.
type entry struct {
	Path         string
	Major, Minor uint32
	Root         string
	Source       string
	Filesystem   string
	Options      []string
}

// mounts are those of the host's own namespace, which need not be the agent's, in the order in
// which they were made.
func (h *host) mounts() ([]entry, error) { return mountsIn(h.path("/proc/1/mountinfo")) }

func mountsIn(path string) ([]entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot list the mounts: %w", err)
	}
	defer file.Close()
	infos, err := mountinfo.GetMountsFromReader(file, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot list the mounts: %w", err)
	}
	var entries []entry
	for _, info := range infos {
		entries = append(entries, entry{Path: info.Mountpoint, Major: uint32(info.Major),
			Minor: uint32(info.Minor), Root: info.Root,
			Source: info.Source, Filesystem: info.FSType,
			Options: strings.Split(info.Options, ",")})
	}
	return entries, nil
}

// mountedAt is what is mounted at the path; the topmost when there are several.
func (h *host) mountedAt(path string) (entry, bool, error) {
	entries, err := h.mounts()
	if err != nil {
		return entry{}, false, err
	}
	for _, e := range slices.Backward(entries) {
		if e.Path == path {
			return e, true, nil
		}
	}
	return entry{}, false, nil
}

// Mount is what is mounted at a path, and what will be after a reboot.
type Mount struct {
	// Path is the mount point; Mounted says whether something is mounted there.
	Path    string
	Mounted bool
	// Device is the node of what is mounted; empty when that device is not attached any more.
	// DeviceIDs are its names, and its disk's.
	Device    string
	DeviceIDs []string
	// Filesystem and UUID are those of what is mounted; Options are in force; Root is the path
	// below the filesystem's root.
	Filesystem, UUID string
	Options          []string
	Root             string
	// SizeBytes and FreeBytes are the filesystem's.
	SizeBytes, FreeBytes int64
	// Unit is the mount unit's name; UnitSource is What= of its file, empty without a file.
	Unit, UnitSource string
	// UnitSourceExists is false for a stale unit file; Enabled says whether it is mounted after a
	// reboot.
	UnitSourceExists, Enabled bool
	// Nonce on the filesystem; empty without one.
	Nonce string
	major uint32
	minor uint32
}

// gone is true when the volume is detached but the kernel still has the mount. Major 0 is a
// filesystem without a device.
func (m Mount) gone() bool { return m.Device == "" && m.major != 0 }

// Get is the mount at an allowed path. NotFound when nothing is mounted there and no unit file says
// so.
func (m *Manager) Get(ctx context.Context, path string) (Mount, error) {
	if err := m.allow.checkPath(path); err != nil {
		return Mount{}, err
	}
	mount, err := m.look(ctx, path)
	if err != nil {
		return Mount{}, err
	}
	if !mount.Mounted && mount.UnitSource == "" {
		return Mount{}, errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_MOUNTED,
			fmt.Sprintf("there is no mount at %s, and no unit file for one", path),
			errs.Meta("path", path),
			errs.WithHint("mount a volume there", errs.Call("EnsureMount", "path", path)))
	}
	return mount, nil
}

// List is all mounts on allowed paths, and what unit files want to be there, sorted by path.
func (m *Manager) List(ctx context.Context) ([]Mount, error) {
	paths, err := m.candidates()
	if err != nil {
		return nil, err
	}
	var list []Mount
	for _, path := range paths {
		mount, err := m.look(ctx, path)
		if err != nil {
			return nil, err
		}
		if mount.Mounted || mount.UnitSource != "" {
			list = append(list, mount)
		}
	}
	return list, nil
}

func (m *Manager) candidates() ([]string, error) {
	entries, err := m.host.mounts()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if m.allow.has(e.Path) {
			paths = append(paths, e.Path)
		}
	}
	for _, pattern := range m.allow.mountPoints {
		if !strings.ContainsAny(pattern, `*?[\`) {
			paths = append(paths, pattern)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// look is Get for a path where there may be nothing.
func (m *Manager) look(ctx context.Context, path string) (Mount, error) {
	mount := Mount{Path: path, Unit: systemd.MountUnit(path)}
	if err := m.lookAtUnit(ctx, &mount); err != nil {
		return Mount{}, err
	}
	e, mounted, err := m.host.mountedAt(path)
	if err != nil || !mounted {
		return mount, err
	}
	mount.Mounted, mount.Filesystem, mount.Options, mount.Root = true, e.Filesystem, e.Options,
		e.Root
	mount.major, mount.minor = e.Major, e.Minor
	devices, err := m.host.attached()
	if err != nil {
		return Mount{}, err
	}
	for _, device := range devices {
		if device.Major == e.Major && device.Minor == e.Minor {
			mount.Device, mount.DeviceIDs = device.Path, device.names()
		}
	}
	if mount.Device != "" {
		if signature, err := m.host.probe(ctx, mount.Device); err == nil {
			mount.UUID = signature.UUID
		}
	}
	mount.SizeBytes, mount.FreeBytes = usage(path)
	mount.Nonce = readNonce(path)
	return mount, nil
}

func (m *Manager) lookAtUnit(ctx context.Context, mount *Mount) error {
	content, err := m.files.Read(mount.Unit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read %s: %w", mount.Unit, err)
	}
	mount.UnitSource = unitSetting(content, "What")
	if mount.UnitSource == "" {
		if line, ok := m.host.fstabLine(mount.Path); ok {
			mount.UnitSource = line.source
		}
	}
	mount.UnitSourceExists = mount.UnitSource != "" && m.host.sourceExists(ctx, mount.UnitSource)
	unit, err := m.units.Get(ctx, mount.Unit)
	if err != nil && errs.KindOf(err) != errs.NotFound {
		return err
	}
	mount.Enabled = unit.FileState == "enabled" || unit.FileState == "generated"
	return nil
}

// unitSetting is the last value of a setting in a unit file's text; "" without one.
func unitSetting(content []byte, key string) string {
	value := ""
	for line := range strings.Lines(string(content)) {
		if name, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == key {
			value = strings.TrimSpace(v)
		}
	}
	return value
}

// usage is the size of the filesystem at the path, and what is free of it for unprivileged users,
// in bytes.
func usage(path string) (size, free int64) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, 0
	}
	return int64(stat.Blocks) * stat.Frsize, int64(stat.Bavail) * stat.Frsize
}

// deviceAt is the number of the device that the filesystem at the path is on.
func deviceAt(path string) (uint64, error) {
	dir, err := untrusted.Open(path)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	return dir.Device()
}

// readNonce is the nonce that Quiesce left on the filesystem at the path.
func readNonce(path string) string {
	nonce, err := untrusted.Nonce(path)
	if err != nil {
		return ""
	}
	return nonce
}

// sourceExists says whether what a unit file or fstab names as a source is there.
func (h *host) sourceExists(ctx context.Context, source string) bool {
	if strings.HasPrefix(source, "/") && !strings.HasPrefix(source, "/dev/") {
		_, err := os.Stat(filepath.Clean(source)) // a directory that is bound
		return err == nil
	}
	return len(h.resolve(ctx, source)) > 0
}

// resolve are the attached devices that a source ("/dev/…", "UUID=…", "LABEL=…") means: none when
// it is gone, several when copies of one filesystem are attached.
func (h *host) resolve(ctx context.Context, source string) []Device {
	if strings.HasPrefix(source, "/dev/") && !strings.HasPrefix(source, "/dev/disk/by-uuid/") {
		return h.resolveNode(source)
	}
	devices, err := h.devices(ctx)
	if err != nil {
		return nil
	}
	kind, value, _ := strings.Cut(strings.Replace(source, "/dev/disk/by-uuid/", "UUID=", 1), "=")
	value = strings.Trim(value, `"`)
	return slices.DeleteFunc(devices, func(d Device) bool {
		return !(kind == "UUID" && d.UUID == value || kind == "LABEL" && d.Label == value) ||
			value == ""
	})
}

func (h *host) resolveNode(path string) []Device {
	number, err := blockNumber(h.path(path))
	if err != nil {
		return nil
	}
	devices, err := h.attached()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(devices, func(d Device) bool { return d.number() != number })
}
