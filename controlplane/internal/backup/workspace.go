package backup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// workspace is a directory of one run, below a parent in which another user may change names: it is
// held, and all in it is reached from there.
type workspace struct {
	*os.Root
	parent *os.Root
	name   string // in the parent, when it was made
	held   *os.File
}

// newWorkspace makes one whose name begins with prefix, and removes those of runs that were killed:
// they have copies of the CA's key.
func newWorkspace(parent *os.Root, prefix string) (*workspace, error) {
	if err := tidy(parent, prefix); err != nil {
		return nil, err
	}
	for {
		w := &workspace{parent: parent, name: prefix + rand.Text()}
		err := parent.Mkdir(w.name, 0o700)
		if err != nil {
			return nil, err
		}
		w.held, err = lockDir(parent, w.name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EWOULDBLOCK) {
			continue // another run took it for a killed one's
		}
		if err == nil {
			w.Root, err = rootAt(w.held)
		}
		if err != nil {
			return nil, errors.Join(err, parent.RemoveAll(w.name))
		}
		return w, nil
	}
}

// remove removes what is in it, wherever it is by now, and its name.
func (w *workspace) remove() error {
	entries, err := fs.ReadDir(w.FS(), ".")
	for _, entry := range entries {
		err = errors.Join(err, w.RemoveAll(entry.Name()))
	}
	return errors.Join(err, w.parent.RemoveAll(w.name), w.Root.Close(), w.held.Close())
}

// rootAt is the directory that is held, whatever has its name by now.
func rootAt(dir *os.File) (*os.Root, error) {
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// tidy removes directories that no process has locked.
func tidy(parent *os.Root, prefix string) error {
	entries, err := fs.ReadDir(parent.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), prefix) || !entry.IsDir() {
			continue
		}
		lock, err := lockDir(parent, entry.Name())
		if err != nil {
			continue // it is in use, or somebody else's
		}
		if err := errors.Join(parent.RemoveAll(entry.Name()), lock.Close()); err != nil {
			return err
		}
	}
	return nil
}

// lockDir locks this user's directory until the file is closed or the process ends.
func lockDir(parent *os.Root, name string) (*os.File, error) {
	file, err := parent.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	var opened unix.Stat_t
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = unix.Fstat(int(file.Fd()), &opened)
	}
	if err == nil && (opened.Nlink == 0 || int(opened.Uid) != os.Geteuid()) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
