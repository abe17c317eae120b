package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/systemd"
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
	for _, step := range []func(context.Context) error{b.volume, b.source, b.free, b.owner,
		b.mount} {
		if err := step(ctx); err != nil {
			return Mount{}, b.changes, fmt.Errorf("cannot bind %s to %s: %w", r.Source, r.Path, err)
		}
	}
	return b.prove(ctx)
}

func (m *Manager) checkBind(r BindRequest) error {
	if err := m.allow.checkPath("path", r.Path); err != nil {
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
	below entry // the mount that the source is on
	report
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

// source makes sure that the directory is there, without a link on its way.
func (b *binding) source(context.Context) error {
	real, err := filepath.EvalSymlinks(b.r.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist) && b.r.Create:
		if err := os.MkdirAll(b.r.Source, newDirMode); err != nil {
			return fmt.Errorf("cannot make the directory: %w", err)
		}
		b.changed("made " + b.r.Source)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return refuse(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("there is no directory %s on the volume", b.r.Source),
			errs.WithHint("check which volume is mounted, or set create for a new one"))
	case err != nil:
		return err
	case real != b.r.Source:
		return refuse(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("%s leads through a link to %s", b.r.Source, real),
			errs.WithHint("name the directory itself"))
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return refuse(errorsv1.Reason_REASON_DATADIR_INVALID,
			fmt.Sprintf("%s is not a directory", b.r.Source), errs.WithHint("name a directory"))
	}
	return nil
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
	now, err := b.m.look(ctx, b.r.Path)
	if err != nil {
		return err
	}
	e, mounted, err := b.m.host.mountedAt(b.r.Path)
	if err != nil {
		return err
	}
	if err := b.decide(now); err != nil {
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

func (b *binding) owner(ctx context.Context) error {
	count, err := ownAll(ctx, b.r.Source, b.r.Owner)
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
	changes, err = bind(ctx, b.m.files, b.r.BoundUnits, b.unit)
	b.changed(changes...)
	return err
}

// prove answers only if the path and the source are the same directory.
func (b *binding) prove(ctx context.Context) (Mount, []string, error) {
	var source, path unix.Stat_t
	if err := errors.Join(unix.Stat(b.r.Source, &source), unix.Stat(b.r.Path, &path)); err != nil {
		return Mount{}, b.changes, fmt.Errorf("cannot prove the mount at %s: %w", b.r.Path, err)
	}
	e, mounted, err := b.m.host.mountedAt(b.r.Path)
	if err != nil {
		return Mount{}, b.changes, err
	}
	if !mounted || !b.right(e) || source.Dev != path.Dev || source.Ino != path.Ino {
		return Mount{}, b.changes, refuse(errorsv1.Reason_REASON_MOUNT_WRONG_SOURCE,
			fmt.Sprintf("%s is not %s", b.r.Path, b.r.Source),
			errs.WithHint("remove drop-ins of "+b.unit+" and other programs that mount there"))
	}
	mount, err := b.m.look(ctx, b.r.Path)
	return mount, b.changes, err
}
