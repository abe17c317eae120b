// Package untrusted touches files in a directory that another user can write: a datadir, a data
// volume, a copy of one. What is there can be anything, and something else a moment later. So each
// name is resolved below an open directory, through no link and into no other filesystem; only
// regular files are read, up to a size; and what is changed is what a descriptor holds, not what a
// path means.
package untrusted

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is an open directory whose content is not believed.
type Dir struct{ file *os.File }

// A name is looked up as an O_PATH descriptor, which opens nothing. openat2 could refuse links and
// mounts by itself, but systemd's RestrictSUIDSGID= takes it away.
const lookUp = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC

// Open opens the directory at an absolute path. A link on the way is followed only where root alone
// could have made it.
func Open(path string) (*Dir, error) {
	at, err := unix.Open("/", lookUp|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if at, err = walk(at, path); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return readable(at, path)
}

// Resolve is the path without links to what is at an absolute path. It follows what Open follows.
func Resolve(path string) (string, error) {
	at, err := unix.Open("/", lookUp|unix.O_DIRECTORY, 0)
	if err == nil {
		at, err = walk(at, path)
	}
	if err != nil {
		return "", &fs.PathError{Op: "resolve", Path: path, Err: err}
	}
	defer unix.Close(at)
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", at))
}

// OpenHeld opens the directory that a process holds, by the kernel's own link to it in /proc.
func OpenHeld(link string) (*Dir, error) {
	at, err := unix.Open(link, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: link, Err: err}
	}
	return readable(at, link)
}

// mostLinks is the kernel's own bound.
const mostLinks = 40

// walk goes from directory to directory, and closes what it leaves.
func walk(at int, path string) (int, error) {
	names := strings.Split(path, "/")
	for links := 0; len(names) > 0; {
		name := names[0]
		names = names[1:]
		if name == "" || name == "." {
			continue
		}
		next, err := unix.Openat(at, name, lookUp, 0)
		if err != nil {
			unix.Close(at)
			return -1, err
		}
		var stat unix.Stat_t
		if err := unix.Fstat(next, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFLNK {
			unix.Close(at)
			at = next
			continue
		}
		to, err := followed(at, next)
		unix.Close(next)
		if links++; err == nil && links > mostLinks {
			err = unix.ELOOP
		}
		if err == nil && strings.HasPrefix(to, "/") {
			unix.Close(at)
			at, err = unix.Open("/", lookUp|unix.O_DIRECTORY, 0)
		}
		if err != nil {
			unix.Close(at)
			return -1, err
		}
		names = append(strings.Split(to, "/"), names...)
	}
	return at, nil
}

// DataMount is how a filesystem is mounted that the host trusts nothing of, as flags of statfs and
// of mount: nothing on it runs, gets another user's rights, or is a device. A /var of its own has
// two of the three at most.
const DataMount = unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC

// followed is where a link leads, when only root could have put it into the directory.
func followed(dir, link int) (string, error) {
	var stat unix.Stat_t
	var flags unix.Statfs_t
	if err := errors.Join(unix.Fstat(dir, &stat), unix.Fstatfs(dir, &flags)); err != nil {
		return "", err
	}
	others := uint32(0o022)
	if stat.Gid == 0 {
		others = 0o002
	}
	if stat.Uid != 0 || stat.Mode&others != 0 || flags.Flags&DataMount == DataMount {
		return "", unix.ELOOP
	}
	to := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link, "", to)
	return string(to[:max(n, 0)]), err
}

// Close gives the descriptor back.
func (d *Dir) Close() error { return d.file.Close() }

// Path is the path that it was opened by; what is there now may be another directory.
func (d *Dir) Path() string { return d.file.Name() }

// Sub is the directory of that name, or path, below it.
func (d *Dir) Sub(path string) (*Dir, error) {
	fd, stat, err := d.reach(path)
	if err != nil {
		return nil, d.failed("open", path, err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
	case unix.S_IFLNK:
		unix.Close(fd)
		return nil, d.failed("open", path, unix.ELOOP)
	default:
		unix.Close(fd)
		return nil, d.failed("open", path, unix.ENOTDIR)
	}
	return readable(fd, filepath.Join(d.Path(), path))
}

// MakeSub is Sub, and makes the directories that are missing. It says whether it made one.
func (d *Dir) MakeSub(path string, mode fs.FileMode) (*Dir, bool, error) {
	at, err := d.Sub(".")
	made := false
	for name := range strings.SplitSeq(filepath.Clean(path), "/") {
		if err != nil {
			return nil, made, err
		}
		switch err := unix.Mkdirat(at.Fd(), name, uint32(mode.Perm())); {
		case err == nil:
			made = true
		case !errors.Is(err, fs.ErrExist):
			return nil, made, errors.Join(at.failed("mkdir", name, err), at.Close())
		}
		next, subErr := at.Sub(name)
		_ = at.Close()
		at, err = next, subErr
	}
	return at, made, err
}

// OpenFile opens a regular file to read; anything else is an error, and nothing is waited for.
func (d *Dir) OpenFile(path string) (*os.File, error) {
	fd, stat, err := d.reach(path)
	if err != nil {
		return nil, d.failed("open", path, err)
	}
	return regular(fd, stat, filepath.Join(d.Path(), path))
}

// regular opens to read what an O_PATH descriptor holds, a regular file alone, and closes that.
func regular(fd int, stat unix.Stat_t, path string) (*os.File, error) {
	defer unix.Close(fd)
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	// The link of the kernel is to what the descriptor holds.
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd),
		unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(again), path), nil
}

var errNotRegular = errors.New("is no regular file")

// ReadFile is the content of a regular file of no more than limit bytes.
func (d *Dir) ReadFile(path string, limit int64) ([]byte, error) {
	file, err := d.OpenFile(path)
	if err != nil {
		return nil, err
	}
	return readAll(file, limit)
}

// ReadFile is the content of a regular file at a path that root names, of no more than limit bytes.
// Links are followed.
func ReadFile(path string, limit int64) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	file, err := regular(fd, stat, path)
	if err != nil {
		return nil, err
	}
	return readAll(file, limit)
}

// ReadBelow is ReadFile of Dir for the directory at an absolute path.
func ReadBelow(dir, path string, limit int64) ([]byte, error) {
	d, err := Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadFile(path, limit)
}

func readAll(file *os.File, limit int64) ([]byte, error) {
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		return nil, &fs.PathError{Op: "read", Path: file.Name(),
			Err: fmt.Errorf("is larger than %d bytes", limit)}
	}
	return content, err
}

// Entries are what is in the directory, by name; a name may be gone by now, or something else.
func (d *Dir) Entries() ([]fs.DirEntry, error) {
	again, err := d.Sub(".") // from the begin, and not for two callers in turns
	if err != nil {
		return nil, err
	}
	defer again.Close()
	entries, err := again.file.ReadDir(mostEntries + 1)
	if len(entries) > mostEntries {
		return nil, d.failed("read", ".", fmt.Errorf("has more than %d files", mostEntries))
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return entries, err
}

// mostEntries bounds a directory that is listed: 200,000 tables in one schema are fewer.
const mostEntries = 1_000_000

// Stat is what the name is now, a link itself included.
func (d *Dir) Stat(path string) (fs.FileInfo, error) {
	fd, _, err := d.reach(path)
	if err != nil {
		return nil, d.failed("stat", path, err)
	}
	file := os.NewFile(uintptr(fd), filepath.Join(d.Path(), path))
	defer file.Close()
	return file.Stat()
}

// Room is what its filesystem has, by the kernel.
func (d *Dir) Room() (unix.Statfs_t, error) {
	var room unix.Statfs_t
	if err := unix.Fstatfs(d.Fd(), &room); err != nil {
		return room, d.failed("stat", ".", err)
	}
	return room, nil
}

// Root is the directory for a walk through all below it, into other filesystems too, but through no
// link that leads out.
func (d *Dir) Root() (*os.Root, error) {
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
}

// Device is the number of the device that its filesystem is on.
func (d *Dir) Device() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(d.Fd(), &stat); err != nil {
		return 0, d.failed("stat", ".", err)
	}
	return stat.Dev, nil
}

// Same says whether both are one directory.
func (d *Dir) Same(other *Dir) bool {
	one, errOne := d.file.Stat()
	two, errTwo := other.file.Stat()
	return errOne == nil && errTwo == nil && os.SameFile(one, two)
}

// Sync brings its names to the disk.
func (d *Dir) Sync() error { return d.file.Sync() }

// SyncFilesystem brings its whole filesystem to the disk.
func (d *Dir) SyncFilesystem() error {
	if err := unix.Syncfs(d.Fd()); err != nil {
		return d.failed("sync", ".", err)
	}
	return nil
}

// Fd is its descriptor, until it is closed.
func (d *Dir) Fd() int { return int(d.file.Fd()) }

func (d *Dir) failed(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.Path(), path), Err: err}
}

// reach is an O_PATH descriptor of what is at the path below the directory, a link itself included.
func (d *Dir) reach(path string) (fd int, stat unix.Stat_t, err error) {
	if !filepath.IsLocal(path) {
		return -1, stat, unix.EXDEV
	}
	here, err := mountOf(d.Fd())
	if err != nil {
		return -1, stat, err
	}
	at, err := unix.Openat(d.Fd(), ".", lookUp|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, stat, err
	}
	names := strings.Split(filepath.Clean(path), "/")
	for i, name := range names {
		next, err := unix.Openat(at, name, lookUp, 0)
		unix.Close(at)
		if err != nil {
			return -1, stat, err
		}
		at = next
		there, err := mountOf(at)
		if err == nil && there != here {
			err = unix.EXDEV
		}
		if err == nil {
			err = unix.Fstat(at, &stat)
		}
		if last := i == len(names)-1; err == nil && !last && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = unix.ELOOP
		}
		if err != nil {
			unix.Close(at)
			return -1, stat, err
		}
	}
	return at, stat, nil
}

// mountOf is the mount that a descriptor is on.
func mountOf(fd int) (uint64, error) {
	var at unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &at)
	return at.Mnt_id, err
}

// readable opens the directory that an O_PATH descriptor holds.
func readable(fd int, path string) (*Dir, error) {
	defer unix.Close(fd)
	again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{os.NewFile(uintptr(again), path)}, nil
}
