// Package atomicfile writes small files so that a crash leaves the old content or the new one,
// never a part.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts data in the file's place in one step, with that mode, and returns when it is on disk.
func Write(path string, data []byte, mode fs.FileMode) error {
	return put(path, data, mode, os.Rename)
}

// Create is Write for a file that must not be there yet; errors.Is(err, fs.ErrExist) when it is.
func Create(path string, data []byte, mode fs.FileMode) error {
	return put(path, data, mode, os.Link)
}

func put(path string, data []byte, mode fs.FileMode, place func(from, to string) error) error {
	temporary, err := fill(path, data, mode)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer os.Remove(temporary)
	if err := place(temporary, path); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// fill makes a file beside path and returns its name. It is readable by its owner alone until it is
// complete.
func fill(path string, data []byte, mode fs.FileMode) (string, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// SyncDir makes the names in a folder last: files made, renamed or removed in it.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot sync folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
