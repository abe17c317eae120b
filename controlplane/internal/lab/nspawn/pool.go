package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ensurePool makes the directory for everything large, on a filesystem with reflinks.
func (l lab) ensurePool(ctx context.Context, bytes int64) error {
	if err := os.MkdirAll(l.pool(), 0o700); err != nil {
		return err
	}
	mounted, err := mountinfo.Mounted(l.pool())
	if err != nil || mounted {
		return err
	}
	image := l.path("pool.img")
	if _, err := os.Stat(image); errors.Is(err, fs.ErrNotExist) {
		if hasReflinks(l.pool()) {
			return nil
		}
		if err := makePoolImage(ctx, image, bytes); err != nil {
			return err
		}
	}
	n, err := l.ensureLoop(image)
	if err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/dev/loop%d", n), l.pool(), "xfs", unix.MS_NOATIME,
		""); err != nil {
		return fmt.Errorf("cannot mount the pool %s: %w", image, err)
	}
	return nil
}

// makePoolImage ends with the rename, so a killed one is made again from scratch.
func makePoolImage(ctx context.Context, image string, bytes int64) error {
	temporary := image + ".new"
	if err := makeSparse(temporary, bytes); err != nil {
		return err
	}
	if _, err := tool(ctx, "", "mkfs.xfs", "-q", "-f", "-K", "-m", "reflink=1",
		temporary); err != nil {
		return fmt.Errorf("cannot format the pool: %w", err)
	}
	return os.Rename(temporary, image)
}

func makeSparse(path string, bytes int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(bytes), f.Close())
}

// hasReflinks tries it.
func hasReflinks(dir string) bool {
	source, target := filepath.Join(dir, ".reflink-a"), filepath.Join(dir, ".reflink-b")
	defer os.Remove(source)
	defer os.Remove(target)
	if err := os.WriteFile(source, make([]byte, 4096), 0o600); err != nil {
		return false
	}
	return cloneFile(source, target) == nil
}

// cloneFile makes target a reflink copy of source, on disk when it returns. The content
// is that of one point in time.
func cloneFile(source, target string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(target, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
	return errors.Join(err, to.Sync(), to.Close())
}

// copyFile copies content and sets the mode, whatever the umask.
func copyFile(source, target string, mode fs.FileMode) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Chmod(mode), to.Close())
}

// unmountBelow unmounts everything at and below a directory, the innermost first.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != dir && !strings.HasPrefix(m.Mountpoint, dir+"/"), false
	})
	if err != nil {
		return err
	}
	slices.Reverse(mounts) // the kernel lists them in the order of mounting
	for _, m := range mounts {
		if err := unmount(m.Mountpoint); err != nil {
			return err
		}
	}
	return nil
}

func unmount(path string) error {
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("cannot unmount %s: %w", path, err)
	}
	return nil
}
