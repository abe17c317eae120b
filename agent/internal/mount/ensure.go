package mount

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/size"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Request says which volume belongs where.
type Request struct {
	// DeviceIDs are names below /dev/disk/by-id that the volume has, any of them. Required.
	DeviceIDs []string
	// Path is the mount point. Required.
	Path string
	// Filesystem is "ext4" or "xfs"; empty accepts either.
	Filesystem string
	// UUID that the filesystem gets when it has another one; empty leaves it.
	UUID string
	// SourceUUID is what the filesystem may have had before; empty accepts any.
	SourceUUID string
	// Nonce that must be on the filesystem; empty skips the check.
	Nonce string
	// ReplaceIDs name volumes that may be mounted there now, or named by the unit file.
	ReplaceIDs []string
	// StopUnits are stopped before something is unmounted.
	StopUnits []string
	// DeviceTimeout is how long to wait for the device; a minute when 0.
	DeviceTimeout time.Duration
	// Grow the filesystem to the device.
	Grow bool
	// Owner of the mount's root directory; empty leaves it.
	Owner string
	// BoundUnits may run only while the mount is there.
	BoundUnits []string
}

// Result is what EnsureMount proved, changed and found.
type Result struct {
	// Mount as proved.
	Mount Mount
	// Changes and Found are for an operator to read, one line each.
	Changes, Found []string
}

// Ensure makes sure that the volume is mounted at the path, now and after a reboot. It formats
// nothing. Interrupted anywhere and called again, it continues from what it finds.
func (m *Manager) Ensure(ctx context.Context, r Request, say Say) (Result, error) {
	if err := m.checkRequest(r); err != nil {
		return Result{}, err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	e := &ensuring{m: m, r: r, say: say, unit: systemd.MountUnit(r.Path),
		report: report{log: m.log.With("path", r.Path)}}
	for _, step := range []func(context.Context) error{e.clear, e.device, e.identify, e.look,
		e.takeOff, e.prepare, e.mount, e.finish} {
		if err := step(ctx); err != nil {
			return Result{Changes: e.changes, Found: e.found},
				fmt.Errorf("cannot mount %s at %s: %w", r.DeviceIDs[0], r.Path, err)
		}
	}
	proved, err := e.prove(ctx)
	return Result{Mount: proved, Changes: e.changes, Found: e.found}, err
}

func (m *Manager) checkRequest(r Request) error {
	if err := m.allow.checkDeviceIDs("device_ids", r.DeviceIDs); err != nil {
		return err
	}
	if err := m.allow.checkDeviceIDs("replace_device_ids", r.ReplaceIDs); err != nil {
		return err
	}
	if err := m.allow.checkPath(r.Path); err != nil {
		return err
	}
	return checkOwner(r.Owner)
}

// ensuring is one call of Ensure.
type ensuring struct {
	m       *Manager
	r       Request
	say     Say
	unit    string
	disk    Device // what the id names
	volume  Device // what is mounted: the disk, or its one partition
	id      string
	place   place
	newUUID bool
	now     Mount
	report
}

// report is what a call changed and found, for an operator to read.
type report struct {
	log            *slog.Logger
	changes, found []string
}

func (r *report) changed(changes ...string) {
	for _, change := range changes {
		r.changes = append(r.changes, change)
		r.log.Info("mount changed", "change", change)
	}
}

func (r *report) saw(format string, args ...any) {
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

func (e *ensuring) clear(context.Context) error { return e.m.filesystems.clearPeeks() }

func (e *ensuring) device(ctx context.Context) (err error) {
	e.disk, e.id, err = e.m.host.await(ctx, e.r.DeviceIDs, e.r.DeviceTimeout, e.say)
	return err
}

// identify probes what is on the device, goes down to its partition, and refuses what must not be
// mounted.
func (e *ensuring) identify(ctx context.Context) error {
	disk, devices, err := e.m.host.probed(ctx, e.disk.Path)
	if err != nil {
		return err
	}
	e.disk, e.volume = disk, disk
	if e.disk.PartitionTable != "" && e.disk.Filesystem == "" {
		if e.volume, err = partition(devices, e.disk); err != nil {
			return err
		}
		if e.id, err = partitionID(e.volume, e.id); err != nil {
			return err
		}
	}
	e.log = e.log.With("device", e.volume.Path)
	e.saw("%s is %s with %s, UUID %s", e.id, e.volume.Path,
		cmp.Or(e.volume.Filesystem, "no filesystem"), cmp.Or(e.volume.UUID, "none"))
	for _, twin := range twins(devices, e.volume) {
		e.saw("%s has the same UUID", name(twin.Path, twin.IDs, ""))
	}
	if e.newUUID, err = decideDevice(e.volume, e.r); err != nil {
		return err
	}
	return checkFits(e.volume)
}

// partitionID is the name of a partition that is the same after a reboot.
func partitionID(d Device, diskID string) (string, error) {
	for _, id := range d.IDs {
		if strings.HasPrefix(id, diskID+"-part") {
			return id, nil
		}
	}
	return "", refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
		fmt.Sprintf("partition %s has no name below /dev/disk/by-id", d.Path),
		errs.WithHint("start udev on the host, which makes these names (systemctl start "+
			"systemd-udevd)"))
}

// look decides on what is there now, before anything is touched.
func (e *ensuring) look(ctx context.Context) (err error) {
	if e.now, err = e.m.look(ctx, e.r.Path); err != nil {
		return err
	}
	if e.now.Mounted {
		e.saw("%s is mounted at %s", name(e.now.Device, e.now.DeviceIDs, e.now.Filesystem),
			e.r.Path)
	}
	if e.place, err = decidePlace(e.now, e.volume, e.r); err != nil {
		return err
	}
	if !e.now.Mounted {
		if err := refuseHiding(e.r.Path); err != nil {
			return err
		}
	}
	if elsewhere := mountedElsewhere(e.volume, e.r.Path, e.m.allow.has); len(elsewhere) > 0 &&
		e.place != placeRight {
		return refuse(errorsv1.Reason_REASON_DEVICE_BUSY,
			fmt.Sprintf("%s is mounted at %s", e.volume.Path, strings.Join(elsewhere, ", ")),
			errs.WithHint("unmount it there first",
				errs.Call("EnsureUnmounted", "path", elsewhere[0])),
			errs.Meta("mount_points", strings.Join(elsewhere, ",")))
	}
	return nil
}

// takeOff unmounts what is mounted there, and this volume where it is mounted unprepared.
func (e *ensuring) takeOff(ctx context.Context) error {
	stale, err := decideSource(e.now.UnitSource, e.m.host.resolve(ctx, e.now.UnitSource), e.volume,
		e.r)
	if err != nil {
		return err
	}
	if e.now.UnitSource != "" {
		e.saw("the unit file or fstab names %s", e.now.UnitSource)
	}
	if stale != "" {
		e.changed(stale)
	}
	if e.place != placeRight {
		if err := e.unmountAll(ctx); err != nil {
			return err
		}
	}
	changes, err := e.m.dropFromFstab(ctx, e.r.Path,
		e.unit+" mounts "+byID+e.id+" here instead of")
	e.changed(changes...)
	return err
}

// unmountAll takes off what is mounted at the path, and the volume from all allowed paths.
func (e *ensuring) unmountAll(ctx context.Context) error {
	paths := []string{}
	if e.now.Mounted {
		paths = append(paths, e.r.Path)
	}
	for _, path := range e.volume.MountPoints {
		if path != e.r.Path {
			paths = append(paths, path)
		}
	}
	for _, path := range slices.Backward(paths) {
		e.say.report("unmounting %s", path)
		changes, err := e.m.unmount(ctx, path, e.r.StopUnits)
		e.changed(changes...)
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare checks the filesystem, checks the nonce and changes the UUID, in this order, on the
// unmounted device.
func (e *ensuring) prepare(ctx context.Context) error {
	if e.place == placeRight {
		return nil
	}
	e.say.report("checking the filesystem on %s", e.volume.Path)
	corrected, err := e.m.filesystems.check(ctx, e.volume)
	if err != nil {
		return err
	}
	e.changed(corrected...)
	if err := e.checkNonceBefore(); err != nil {
		return err
	}
	if e.r.Grow {
		grown, err := e.m.filesystems.growUnmounted(ctx, e.volume)
		if err != nil {
			return err
		}
		if grown {
			e.changed(grownTo(e.volume.SizeBytes))
		}
	}
	if !e.newUUID {
		return nil
	}
	e.say.report("giving the filesystem the UUID %s", e.r.UUID)
	if err := e.m.filesystems.setUUID(ctx, e.volume, e.r.UUID); err != nil {
		return err
	}
	e.changed(fmt.Sprintf("new UUID %s (was %s)", e.r.UUID, e.volume.UUID))
	return nil
}

func (e *ensuring) checkNonceBefore() error {
	if e.r.Nonce == "" {
		return nil
	}
	return e.m.filesystems.peek(e.volume,
		func(dir string) error { return checkNonce(readNonce(dir), e.r.Nonce) })
}

func checkNonce(got, want string) error {
	if want == "" || got == want {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_NONCE_MISMATCH,
		fmt.Sprintf("the volume has the nonce %q, not the snapshot's %q", got, want),
		errs.WithHint("attach the volume that was made from that snapshot"),
		errs.Meta("found", got),
		errs.Meta("expected", want))
}

// mount writes the unit file, so that a reboot mounts the right volume, and mounts it.
func (e *ensuring) mount(ctx context.Context) error {
	if e.place != placeRight {
		if hidden := countFiles(e.r.Path); hidden > 0 {
			e.saw("%d files in %s are hidden by the mount", hidden, e.r.Path)
		}
	}
	e.say.report("mounting")
	changes, err := e.m.mountUnit(ctx, e.unit, volumeUnit(e.id, e.r.Path, e.volume.Filesystem),
		e.say)
	e.changed(changes...)
	return err
}

// mountUnit makes sure that the unit has that file and is mounted.
func (m *Manager) mountUnit(ctx context.Context, unit string, file []byte,
	say Say) ([]string, error) {
	changes, err := m.files.Install(ctx, unit, file)
	if err != nil {
		return changes, err
	}
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	_, mounted, err := m.units.Ensure(ctx, unit,
		func(text string) { say.report("mounting: %s", text) })
	for _, change := range mounted {
		changes = append(changes, unit+" "+strings.Replace(change, "started", "mounted", 1))
	}
	return changes, err
}

func (e *ensuring) finish(ctx context.Context) error {
	if e.r.Grow {
		grown, err := e.m.filesystems.growMounted(ctx, e.r.Path, e.volume.Path, e.volume.Filesystem)
		switch {
		case err != nil && e.place == placeRight && errs.KindOf(err) == errs.FailedPrecondition:
			e.saw("%v", err) // it is mounted and in use: no reason to stop MariaDB
		case err != nil:
			return err
		}
		if grown {
			size, _ := usage(e.r.Path)
			e.changed(grownTo(size))
		}
	}
	if err := e.restrict(e.r.Path); err != nil {
		return err
	}
	owned, err := own(e.r.Path, e.r.Owner)
	if err != nil {
		return err
	}
	if owned {
		e.changed("owner set to " + e.r.Owner)
	}
	changes, err := bind(ctx, e.m.files, e.r.BoundUnits, e.unit)
	e.changed(changes...)
	return err
}

func grownTo(bytes int64) string { return "grown to " + size.Text(bytes) }

// prove observes the host again and answers only if the path is on the volume that the id names.
func (e *ensuring) prove(ctx context.Context) (Mount, error) {
	number, err := blockNumber(e.m.host.path(byID, e.id))
	if err != nil {
		return Mount{}, fmt.Errorf("cannot prove the mount at %s: %w", e.r.Path, err)
	}
	device, err := deviceAt(e.r.Path)
	if err != nil {
		return Mount{}, fmt.Errorf("cannot prove the mount at %s: %w", e.r.Path, err)
	}
	mount, err := e.m.look(ctx, e.r.Path)
	if err != nil {
		return Mount{}, err
	}
	mounted := unix.Mkdev(mount.major, mount.minor)
	switch {
	case device != number || mounted != number || mount.Root != "/":
		return Mount{}, refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
			fmt.Sprintf("%s is on %s, not on %s", e.r.Path,
				name(mount.Device, mount.DeviceIDs, mount.Filesystem), e.id),
			errs.WithHint("remove drop-ins of "+e.unit+" and other programs that mount there"))
	case e.r.UUID != "" && mount.UUID != e.r.UUID:
		return Mount{}, refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
			fmt.Sprintf("the filesystem at %s has the UUID %s, not %s", e.r.Path, mount.UUID,
				e.r.UUID), errs.WithHint("call again, which prepares it again"))
	}
	return mount, checkNonce(mount.Nonce, e.r.Nonce)
}
