// Package atomicfile writes small files so that a crash leaves the old content or the new one,
// never a part.
package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Owner is whom a file belongs to; nil leaves it to this process's user.
type Owner struct{ UID, GID int }

// OwnerNamed is the user of that name, with its own group; user.UnknownUserError when there is
// none.
func OwnerNamed(name string) (*Owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("cannot read the id of user %s: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("cannot read the group of user %s: %w", name, err)
	}
	return &Owner{UID: uid, GID: gid}, nil
}

// Write puts data in the file's place in one step, with that mode, and returns when it is on disk.
func Write(path string, data []byte, mode fs.FileMode) error {
	return put(path, data, mode, nil, os.Rename)
}

// Create is Write for a file that must not exist yet; errors.Is(err, fs.ErrExist) when it does.
func Create(path string, data []byte, mode fs.FileMode) error {
	return put(path, data, mode, nil, os.Link)
}

// Ensure is Write for a file that may have the content already: only its mode and owner are set
// then. It says whether it wrote. Anything else in the file's place, a link included, is replaced.
func Ensure(path string, data []byte, mode fs.FileMode, owner *Owner) (bool, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().IsRegular() {
		old, err := os.ReadFile(path)
		if err != nil {
			return false, err
		}
		if bytes.Equal(old, data) {
			return false, errors.Join(os.Chmod(path, mode), owner.take(path))
		}
	}
	return true, put(path, data, mode, owner, os.Rename)
}

func (o *Owner) take(path string) error {
	if o == nil {
		return nil
	}
	return os.Chown(path, o.UID, o.GID)
}

func put(path string, data []byte, mode fs.FileMode, owner *Owner,
	place func(from, to string) error) error {
	temporary, err := fill(path, data, mode, owner)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer os.Remove(temporary)
	if err := place(temporary, path); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// fill makes a file beside path and returns its name, which begins with a dot and has no suffix
// that anybody reads. Only its owner can read it until it is complete.
func fill(path string, data []byte, mode fs.FileMode, owner *Owner) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+suffix)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	err = errors.Join(err, owner.take(file.Name()), file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// suffix is that of files that are being written.
const suffix = ".tmp"

// Tidy removes what writers of these files left that were killed. The last part of a path may be a
// pattern of filepath.Match; a folder that is absent has nothing to remove. The caller keeps other
// writers of these files away: what they are writing looks the same.
func Tidy(paths ...string) error {
	var failed []error
	for _, path := range paths {
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
		for _, entry := range entries {
			name, ours := strings.CutSuffix(entry.Name(), suffix)
			of := strings.TrimSuffix(name, filepath.Ext(name))
			if ok, err := filepath.Match("."+filepath.Base(path), of); err != nil || !ours || !ok {
				failed = append(failed, err)
				continue
			}
			failed = append(failed, os.Remove(filepath.Join(filepath.Dir(path), entry.Name())))
		}
	}
	return errors.Join(failed...)
}

// SyncDir makes the names in a directory durable: files made, renamed or removed in it.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot sync directory: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
