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

// resolveBelow is how a name in a Dir is resolved.
const resolveBelow = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS |
	unix.RESOLVE_NO_XDEV

// Open opens the directory at an absolute path. A link on the way is followed only where root alone
// could have made it.
func Open(path string) (*Dir, error) {
	at, err := open(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if at, err = walk(at, path); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return readable(at, path)
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
		next, err := open(at, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
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
			at, err = open(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		if err != nil {
			unix.Close(at)
			return -1, err
		}
		names = append(strings.Split(to, "/"), names...)
	}
	return at, nil
}

// followed is where a link leads, when only root could have put it into the directory. A filesystem
// that is mounted nosuid is one that the host does not trust either.
func followed(dir, link int) (string, error) {
	var stat unix.Stat_t
	var flags unix.Statfs_t
	if err := errors.Join(unix.Fstat(dir, &stat), unix.Fstatfs(dir, &flags)); err != nil {
		return "", err
	}
	if stat.Uid != 0 || stat.Mode&0o022 != 0 || flags.Flags&unix.ST_NOSUID != 0 {
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
	fd, err := open(d.fd(), path, unix.O_PATH|unix.O_DIRECTORY, resolveBelow)
	if err != nil {
		return nil, d.failed("open", path, err)
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
		switch err := unix.Mkdirat(at.fd(), name, uint32(mode.Perm())); {
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
	fd, err := open(d.fd(), path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, resolveBelow)
	if err != nil {
		return nil, d.failed("open", path, err)
	}
	return regular(os.NewFile(uintptr(fd), filepath.Join(d.Path(), path)))
}

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
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if file, err = regular(file); err != nil {
		return nil, err
	}
	return readAll(file, limit)
}

func regular(file *os.File) (*os.File, error) {
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: file.Name(), Err: errNotRegular}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

var errNotRegular = errors.New("is no regular file")

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
	fd, err := open(d.fd(), path, unix.O_PATH|unix.O_NOFOLLOW, resolveBelow)
	if err != nil {
		return nil, d.failed("stat", path, err)
	}
	file := os.NewFile(uintptr(fd), filepath.Join(d.Path(), path))
	defer file.Close()
	return file.Stat()
}

// Device is the number of the device that its filesystem is on.
func (d *Dir) Device() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(d.fd(), &stat); err != nil {
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
	if err := unix.Syncfs(d.fd()); err != nil {
		return d.failed("sync", ".", err)
	}
	return nil
}

func (d *Dir) fd() int { return int(d.file.Fd()) }

func (d *Dir) failed(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.Path(), path), Err: err}
}

// readable opens the directory that an O_PATH descriptor holds.
func readable(fd int, path string) (*Dir, error) {
	defer unix.Close(fd)
	again, err := open(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{os.NewFile(uintptr(again), path)}, nil
}

// open is openat2, again when a rename beside it made the kernel give up.
func open(dir int, path string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: resolve}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(dir, path, &how)
		if retry := errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR); !retry ||
			tries == mostTries {
			return fd, err
		}
	}
}

const mostTries = 100
