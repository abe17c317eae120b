package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// BindRequest says what is bound where.
type BindRequest struct {
	// Source is the directory, below an allowed mount point that has a mount. Path is where it is
	// bound to.
	Source, Path string
	// Owner of the source and all that is in it; empty leaves it.
	Owner string
	// Create the source when it is missing.
	Create bool
	// BoundUnits may run only while the mount is there; StopUnits are stopped before something is
	// unmounted or bound over.
	BoundUnits, StopUnits []string
}

const newDirMode = 0o755

// EnsureBind makes sure that the directory is bound to the path, now and after a reboot. It answers
// the mount and what it changed.
func (m *Manager) EnsureBind(ctx context.Context, r BindRequest) (Mount, []string, error) {
	if err := m.checkBind(r); err != nil {
		return Mount{}, nil, err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return Mount{}, nil, err
	}
	defer unlock()
	b := &binding{m: m, r: r, unit: systemd.MountUnit(r.Path),
		report: report{log: m.log.With("path", r.Path)}}
	defer b.close()
	for _, step := range []func(context.Context) error{b.volume, b.look, b.source, b.free,
		b.owner, b.mount} {
		if err := step(ctx); err != nil {
			return Mount{}, b.changes, fmt.Errorf("cannot bind %s to %s: %w", r.Source, r.Path, err)
		}
	}
	return b.prove(ctx)
}

func (m *Manager) checkBind(r BindRequest) error {
	if err := m.allow.checkPath(r.Path); err != nil {
		return err
	}
	if err := checkCleanPath("source", r.Source); err != nil {
		return err
	}
	return checkOwner(r.Owner)
}

// binding is one call of EnsureBind.
type binding struct {
	m     *Manager
	r     BindRequest
	unit  string
	below entry          // the mount that the source is on
	dir   *untrusted.Dir // the source
	report
}

func (b *binding) close() {
	if b.dir != nil {
		_ = b.dir.Close()
	}
}

// volume finds the mount that has the source.
func (b *binding) volume(context.Context) error {
	entries, err := b.m.host.mounts()
	if err != nil {
		return err
	}
	for _, e := range entries { // of several, the longest path and then the topmost
		if strings.HasPrefix(b.r.Source, e.Path+"/") && len(e.Path) >= len(b.below.Path) {
			b.below = e
		}
	}
	if b.below.Path == "" || !b.m.allow.has(b.below.Path) {
		return refuse(errorsv1.Reason_REASON_NOT_MOUNTED,
			fmt.Sprintf("%s is not on a volume", b.r.Source),
			errs.WithHint("mount the volume first", errs.Call("EnsureMount")),
			errs.Meta("source", b.r.Source))
	}
	return nil
}

// look decides on what is at the path now, before anything is touched.
func (b *binding) look(ctx context.Context) error {
	now, err := b.m.look(ctx, b.r.Path)
	if err != nil {
		return err
	}
	return b.decide(now)
}

// decide refuses to take off another volume that is attached, and to hide a database.
func (b *binding) decide(now Mount) error {
	same := now.major == b.below.Major && now.minor == b.below.Minor
	if !now.Mounted {
		return refuseHiding(now.Path)
	}
	if same || now.gone() {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
		fmt.Sprintf("%s is mounted there", name(now.Device, now.DeviceIDs, now.Filesystem)),
		errs.WithHint("unmount it first", errs.Call("EnsureUnmounted", "path", now.Path)),
		errs.Meta("device_ids", strings.Join(now.DeviceIDs, ",")))
}

// source opens the directory, and makes sure that it is there and that root alone can put another
// one in its place: what is bound is named by a path.
func (b *binding) source(context.Context) error {
	volume, err := untrusted.Open(b.below.Path)
	if err != nil {
		return err
	}
	defer volume.Close()
	if on, err := volume.Device(); err != nil || on != unix.Mkdev(b.below.Major, b.below.Minor) {
		return errors.Join(err, refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
			fmt.Sprintf("another filesystem is at %s now", b.below.Path),
			errs.WithHint("call again, which looks again")))
	}
	way := strings.TrimPrefix(b.r.Source, b.below.Path+"/")
	if err := b.rootsOwn(volume, path.Dir(way)); err != nil {
		return err
	}
	made := false
	b.dir, err = volume.Sub(way)
	if errors.Is(err, fs.ErrNotExist) && b.r.Create {
		b.dir, made, err = volume.MakeSub(way, newDirMode)
	}
	if made {
		b.changed("made " + b.r.Source)
	}
	return b.refuseSource(err)
}

// rootsOwn gives root what is above the source. A directory of MariaDB's files is left alone and
// refused: nothing is bound from there.
func (b *binding) rootsOwn(volume *untrusted.Dir, above string) error {
	way := ""
	for name := range strings.SplitSeq("./"+above, "/") {
		way = path.Join(way, name)
		dir, err := volume.Sub(way)
		if errors.Is(err, fs.ErrNotExist) && b.r.Create {
			return nil
		}
		if err != nil {
			return b.refuseSource(err)
		}
		changed, err := b.rootsOwnOne(dir)
		_ = dir.Close()
		if err != nil {
			return err
		}
		if changed {
			b.changed("owner of " + path.Join(b.below.Path, way) + " set to root")
		}
	}
	return nil
}

func (b *binding) rootsOwnOne(dir *untrusted.Dir) (bool, error) {
	for _, name := range []string{"ibdata1", "aria_log_control"} {
		if _, err := dir.Stat(name); err == nil {
			return false, refuse(errorsv1.Reason_REASON_DATADIR_INVALID,
				fmt.Sprintf("%s is inside the datadir %s, where MariaDB can replace it", b.r.Source,
					dir.Path()), errs.WithHint("name the datadir itself"))
		}
	}
	return dir.Keep(atomicfile.Owner{})
}

// refuseSource is the answer to an error of opening the source.
func (b *binding) refuseSource(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("there is no directory %s on the volume", b.r.Source),
			errs.WithHint("check which volume is mounted, or set create for a new one"))
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		return refuse(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("%s leads through a link or a mount to another place", b.r.Source),
			errs.WithHint("name the directory itself"), errs.Wrap(err))
	case errors.Is(err, unix.ENOTDIR):
		return refuse(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("%s is not a directory", b.r.Source), errs.WithHint("name a directory"))
	}
	return err
}

// right says whether the mount is the wanted one.
func (b *binding) right(e entry) bool {
	sub := strings.TrimPrefix(b.r.Source, b.below.Path)
	return e.Major == b.below.Major && e.Minor == b.below.Minor &&
		e.Root == filepath.Join(b.below.Root, sub)
}

// free makes the path free: of a stale or another mount of the same volume, of the units that use
// it, of fstab.
func (b *binding) free(ctx context.Context) error {
	e, mounted, err := b.m.host.mountedAt(b.r.Path)
	if err != nil {
		return err
	}
	var changes []string
	switch {
	case mounted && !b.right(e):
		changes, err = b.m.unmount(ctx, b.r.Path, b.r.StopUnits)
	case !mounted:
		changes, err = stopAll(ctx, b.m.units, b.r.StopUnits)
		if hidden := countFiles(b.r.Path); hidden > 0 {
			changes = append(changes, fmt.Sprintf("%d files in %s are hidden by the mount now",
				hidden, b.r.Path))
		}
	}
	b.changed(changes...)
	if err != nil {
		return err
	}
	changes, err = b.m.dropFromFstab(ctx, b.r.Path,
		b.unit+" binds "+b.r.Source+" here instead of")
	b.changed(changes...)
	return err
}

// owner gives the directory that is open, and all that is in it, to the owner.
func (b *binding) owner(ctx context.Context) error {
	if b.r.Owner == "" {
		return nil
	}
	to, err := lookUp(b.r.Owner)
	if err != nil {
		return err
	}
	count, err := b.dir.OwnAll(ctx, *to, nil)
	if count > 0 {
		b.changed(fmt.Sprintf("owner of %d files set to %s", count, b.r.Owner))
	}
	return err
}

func (b *binding) mount(ctx context.Context) error {
	changes, err := b.m.mountUnit(ctx, b.unit, bindUnit(b.r.Source, b.r.Path, b.below.Path), nil)
	b.changed(changes...)
	if err != nil {
		return err
	}
	if err := b.restrict(b.r.Path); err != nil {
		return err
	}
	changes, err = bind(ctx, b.m.files, b.r.BoundUnits, b.unit)
	b.changed(changes...)
	return err
}

// prove answers only if the path and the source are the same directory.
func (b *binding) prove(ctx context.Context) (Mount, []string, error) {
	there, err := untrusted.Open(b.r.Path)
	if err != nil {
		return Mount{}, b.changes, fmt.Errorf("cannot prove the mount at %s: %w", b.r.Path, err)
	}
	defer there.Close()
	e, mounted, err := b.m.host.mountedAt(b.r.Path)
	if err != nil {
		return Mount{}, b.changes, err
	}
	if !mounted || !b.right(e) || !b.dir.Same(there) {
		return Mount{}, b.changes, refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
			fmt.Sprintf("%s is not %s", b.r.Path, b.r.Source),
			errs.WithHint("remove drop-ins of "+b.unit+" and other programs that mount there"))
	}
	mount, err := b.m.look(ctx, b.r.Path)
	return mount, b.changes, err
}
