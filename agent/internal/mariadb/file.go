package mariadb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// owner is who a file belongs to; nil leaves it to the agent's own user.
type owner struct{ uid, gid int }

// lookup finds the user that MariaDB runs as.
func lookup(name string) (*owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("cannot find the user that MariaDB runs as: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("cannot read the id of user %s: %w", name, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("cannot read the group of user %s: %w", name, err)
	}
	return &owner{uid, gid}, nil
}

// ensureFile makes the file hold that content with that mode and owner: all of it or, after a
// crash, nothing. It says whether the content changed.
func ensureFile(path string, content []byte, mode os.FileMode, belongs *owner) (bool, error) {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, content) {
		return false, settle(path, mode, belongs)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	return true, replaceFile(path, content, mode, belongs)
}

func replaceFile(path string, content []byte, mode os.FileMode, belongs *owner) error {
	dir := filepath.Dir(path)
	// The name ends so that MariaDB's !includedir does not read it.
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	if _, err := temp.Write(content); err != nil {
		return err
	}
	if err := settle(temp.Name(), mode, belongs); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

func settle(path string, mode os.FileMode, belongs *owner) error {
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	if belongs == nil {
		return nil
	}
	return os.Chown(path, belongs.uid, belongs.gid)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
