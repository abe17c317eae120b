package untrusted

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// Write puts data in the place of the name in one step, a link's included, and returns when it is
// on disk.
func (d *Dir) Write(name string, data []byte, mode fs.FileMode) error {
	// One writer at a time: what is there was left by one that was killed.
	temporary := "." + name + ".tmp"
	if err := unix.Unlinkat(d.Fd(), temporary, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return d.failed("write", name, err)
	}
	fd, err := unix.Openat(d.Fd(), temporary,
		unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return d.failed("write", name, err)
	}
	defer func() { _ = unix.Unlinkat(d.Fd(), temporary, 0) }()
	file := os.NewFile(uintptr(fd), d.Path()+"/"+temporary)
	_, err = file.Write(data)
	if err := errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return d.failed("write", name, err)
	}
	if err := unix.Renameat(d.Fd(), temporary, d.Fd(), name); err != nil {
		return d.failed("write", name, err)
	}
	return d.Sync()
}

// TryWrite writes into a file without a name, which is gone again after that.
func (d *Dir) TryWrite() error {
	fd, err := unix.Openat(d.Fd(), ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return d.failed("write", ".", err)
	}
	file := os.NewFile(uintptr(fd), d.Path())
	defer file.Close()
	_, err = file.Write([]byte{0})
	return err
}

// MoveTo moves a name into another directory.
func (d *Dir) MoveTo(other *Dir, name string) error {
	if err := unix.Renameat(d.Fd(), name, other.Fd(), name); err != nil {
		return d.failed("rename", name, err)
	}
	return nil
}

// RemoveAll removes the name and all below it, and returns when that is on disk. A name that is
// absent is fine.
func (d *Dir) RemoveAll(name string) error {
	root, err := d.Root()
	if err != nil {
		return err
	}
	return errors.Join(root.RemoveAll(name), root.Close(), d.Sync())
}

// Own gives the directory itself to a user. It says whether it was another's.
func (d *Dir) Own(to atomicfile.Owner) (bool, error) { return own(d.Fd(), d.Path(), to) }

// OwnFile gives a regular file that has no other name to a user. It says whether it was another's.
func (d *Dir) OwnFile(name string, to atomicfile.Owner) (bool, error) {
	fd, stat, err := d.reach(name)
	if err != nil {
		return false, d.failed("chown", name, err)
	}
	defer unix.Close(fd)
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, d.failed("chown", name, errNotRegular)
	}
	if stat.Nlink > 1 && int(stat.Uid) != to.UID {
		return false, d.failed("chown", name, errOtherName)
	}
	return own(fd, d.Path()+"/"+name, to)
}

// Keep gives the directory itself to a user, and lets no other write into it. Who had it still gets
// through. It says whether it changed something.
func (d *Dir) Keep(to atomicfile.Owner) (bool, error) {
	changed, err := d.Own(to)
	if err != nil {
		return changed, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(d.Fd(), &stat); err != nil {
		return changed, d.failed("stat", ".", err)
	}
	wanted := stat.Mode&^0o022 | 0o111
	if stat.Mode == wanted {
		return changed, nil
	}
	if err := unix.Fchmod(d.Fd(), wanted&0o7777); err != nil {
		return changed, d.failed("chmod", ".", err)
	}
	return true, nil
}

// OwnAll gives the directory and all below it to a user, on its filesystem alone, but the names
// that skip picks. It answers how many files were another's. A file with several names may have one
// outside, and is refused where that would give away more than the directory.
func (d *Dir) OwnAll(ctx context.Context, to atomicfile.Owner,
	skip func(name string) bool) (int, error) {
	room, err := d.Room()
	if err != nil {
		return 0, err
	}
	o := owning{to: to, skip: skip, apart: room.Flags&DataMount == DataMount}
	err = o.dir(ctx, d, 0)
	return o.count, err
}

// owning is one call of OwnAll.
type owning struct {
	to    atomicfile.Owner
	skip  func(name string) bool
	apart bool // a filesystem for data, which has nothing of the host's
	count int
	seen  int // entries of all directories
}

// mostDepth is deeper than any datadir.
const mostDepth = 32

func (o *owning) dir(ctx context.Context, d *Dir, depth int) error {
	if depth > mostDepth {
		return d.failed("chown", ".", unix.ELOOP)
	}
	if did, err := d.Own(o.to); err != nil {
		return err
	} else if did {
		o.count++
	}
	entries, err := d.Entries()
	if err != nil {
		return err
	}
	if o.seen += len(entries); o.seen > mostEntries {
		return d.failed("chown", ".", fmt.Errorf("has more than %d files", mostEntries))
	}
	for _, entry := range entries {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if o.skip != nil && o.skip(entry.Name()) {
			continue
		}
		err := o.entry(ctx, d, entry.Name(), depth)
		// It may be gone; and a filesystem that is mounted here is not part of this one.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EXDEV) {
			return err
		}
	}
	return nil
}

// entry looks at what the name is and changes what it has looked at.
func (o *owning) entry(ctx context.Context, d *Dir, name string, depth int) error {
	fd, stat, err := d.reach(name)
	if err != nil {
		return d.failed("chown", name, err)
	}
	path := d.Path() + "/" + name
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		sub, err := readable(fd, path) // closes fd
		if err != nil {
			return err
		}
		return errors.Join(o.dir(ctx, sub, depth+1), sub.Close())
	}
	defer unix.Close(fd)
	if stat.Nlink > 1 && !o.apart && int(stat.Uid) != o.to.UID {
		return d.failed("chown", name, errOtherName)
	}
	did, err := own(fd, path, o.to)
	if did {
		o.count++
	}
	return err
}

var errOtherName = errors.New("has another name, which may be outside")

// own changes the owner of what the descriptor holds, and of nothing else.
func own(fd int, path string, to atomicfile.Owner) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return false, fmt.Errorf("cannot read the owner of %s: %w", path, err)
	}
	if int(stat.Uid) == to.UID && int(stat.Gid) == to.GID {
		return false, nil
	}
	if err := unix.Fchownat(fd, "", to.UID, to.GID, unix.AT_EMPTY_PATH); err != nil {
		return false, fmt.Errorf("cannot change the owner of %s: %w", path, err)
	}
	return true, nil
}
