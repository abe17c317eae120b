// Package freeze freezes and thaws filesystems. Whoever freezes must have armed another process
// that thaws before: nothing here is a lease by itself.
package freeze

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// The ioctls are not in x/sys: _IOWR('X', 119, int) and _IOWR('X', 120, int).
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

var (
	// ErrRoot is answered for the filesystem that the host itself runs on: nothing could thaw it
	// again.
	ErrRoot = errors.New("the root filesystem is never frozen")
	// ErrFrozen is answered by Freeze when the filesystem is frozen already, by whomever.
	ErrFrozen = errors.New("the filesystem is frozen already")
	// ErrUnsupported is answered for a filesystem that cannot be frozen (tmpfs, overlay, …).
	ErrUnsupported = errors.New("the filesystem cannot be frozen")
)

// Filesystem is the filesystem of a path. It keeps the path's mount in use until it is
// closed, so that it can be thawed whatever happens to the path.
type Filesystem struct {
	path string
	dir  *untrusted.Dir
}

// Open opens the filesystem at the mount point. ErrRoot when that is the root filesystem.
func Open(path string) (*Filesystem, error) {
	dir, err := untrusted.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot freeze or thaw: %w", err)
	}
	f := &Filesystem{path: path, dir: dir}
	if err := f.refuseRoot(); err != nil {
		dir.Close()
		return nil, err
	}
	return f, nil
}

func (f *Filesystem) refuseRoot() error {
	root, err := untrusted.Open("/")
	if err != nil {
		return fmt.Errorf("cannot read the root filesystem: %w", err)
	}
	defer root.Close()
	itsDevice, errRoot := root.Device()
	device, err := f.dir.Device()
	if err := errors.Join(errRoot, err); err != nil {
		return fmt.Errorf("cannot tell %s from the root filesystem: %w", f.path, err)
	}
	if device == itsDevice {
		return fmt.Errorf("%s: %w", f.path, ErrRoot)
	}
	return nil
}

// Close closes the filesystem. It thaws nothing.
func (f *Filesystem) Close() error { return f.dir.Close() }

// Freeze writes out what is dirty and stops all writes. It cannot be interrupted, and takes as long
// as the writing takes.
func (f *Filesystem) Freeze() error {
	switch err := f.ioctl(fiFreeze); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("cannot freeze %s: %w", f.path, ErrFrozen)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY):
		return fmt.Errorf("cannot freeze %s: %w", f.path, ErrUnsupported)
	default:
		return fmt.Errorf("cannot freeze %s: %w", f.path, err)
	}
}

// Thaw thaws the filesystem and says whether it was frozen.
func (f *Filesystem) Thaw() (thawed bool, err error) {
	switch err := f.ioctl(fiThaw); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY):
		return false, nil
	default:
		return false, fmt.Errorf("cannot thaw %s: %w", f.path, err)
	}
}

// Frozen says whether the filesystem is frozen. The kernel tells it only to one who tries to
// freeze: a filesystem that was not frozen is frozen for a moment, so this may only be called while
// a process that thaws is armed.
func (f *Filesystem) Frozen() (bool, error) {
	switch err := f.Freeze(); {
	case errors.Is(err, ErrFrozen):
		return true, nil
	case errors.Is(err, ErrUnsupported):
		return false, nil
	case err != nil:
		return false, err
	}
	_, err := f.Thaw()
	return false, err
}

func (f *Filesystem) ioctl(request uint) error {
	for {
		err := unix.IoctlSetInt(f.dir.Fd(), request, 0)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Thaw thaws the filesystem at the mount point; it says whether it was frozen.
func Thaw(path string) (thawed bool, err error) {
	f, err := Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return f.Thaw()
}
