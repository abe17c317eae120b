package nspawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const loopMajor = 7

// findLoop is the number of the loop device over a file. Numbers are never recorded: the
// kernel's own list is asked, which is right after a kill and after a restart of the box.
func findLoop(file string) (int, bool) {
	for n, backing := range loops() {
		if backing == file {
			return n, true
		}
	}
	return 0, false
}

// loops lists the files under all loop devices, by number. A file that was deleted
// carries the kernel's " (deleted)".
func loops() map[int]string {
	found := map[int]string{}
	paths, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, path := range paths {
		var n int
		if _, err := fmt.Sscanf(path, "/sys/block/loop%d/", &n); err != nil {
			continue
		}
		if backing, err := os.ReadFile(path); err == nil {
			found[n] = strings.TrimSuffix(string(backing), "\n")
		}
	}
	return found
}

// ensureLoop gives the file a loop device, labelled so that sweepLoops finds it even when
// the filesystem of the file was unmounted lazily, which takes the file's path away.
func (l lab) ensureLoop(file string) (int, error) {
	if n, ok := findLoop(file); ok {
		return n, nil
	}
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer backing.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd())}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], l.key()+"/"+filepath.Base(file))
	for {
		n, err := configureFreeLoop(&config)
		if errors.Is(err, unix.EBUSY) {
			continue // another process took the free one first
		}
		if err != nil {
			return 0, fmt.Errorf("cannot attach %s to a loop device: %w", file, err)
		}
		return n, nil
	}
}

func configureFreeLoop(config *unix.LoopConfig) (int, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return 0, err
	}
	device, err := openLoop(n, os.O_RDWR)
	if err != nil {
		return 0, err
	}
	defer device.Close()
	return n, unix.IoctlLoopConfigure(int(device.Fd()), config)
}

// ownsLoop says whether a loop device is the lab's, by path or by label.
func (l lab) ownsLoop(n int, file string) bool {
	if strings.HasPrefix(file, l.dir+"/") {
		return true
	}
	device, err := openLoop(n, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer device.Close()
	info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	return err == nil && strings.HasPrefix(unix.ByteSliceToString(info.File_name[:]), l.key()+"/")
}

// freeLoop detaches the loop device from the file, after calling first while nobody can
// mount it. False when it is in use: mounted somewhere, in a machine or not, or looked at by
// somebody (the box's udev), until whose end the kernel keeps it.
func freeLoop(file string, first func() error) (bool, error) {
	n, ok := findLoop(file)
	if !ok {
		return true, nil
	}
	// O_EXCL is what a mount takes too.
	device, err := openLoop(n, os.O_RDONLY|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = first()
	if err == nil {
		err = clearLoop(device)
	}
	if err := errors.Join(err, device.Close()); err != nil {
		return false, err
	}
	_, still := findLoop(file)
	return !still, nil
}

func nothing() error { return nil }

// dropLoop clears the loop device at once or, if it is in use, when it no longer is.
func dropLoop(n int) error {
	device, err := openLoop(n, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer device.Close()
	return clearLoop(device)
}

func clearLoop(device *os.File) error {
	err := unix.IoctlSetInt(int(device.Fd()), unix.LOOP_CLR_FD, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil
	}
	return err
}

// growLoop lets an attached device see that its file has grown.
func growLoop(file string) error {
	n, ok := findLoop(file)
	if !ok {
		return nil
	}
	device, err := openLoop(n, os.O_RDWR)
	if err != nil {
		return err
	}
	defer device.Close()
	return unix.IoctlSetInt(int(device.Fd()), unix.LOOP_SET_CAPACITY, 0)
}

func openLoop(n, flags int) (*os.File, error) {
	path := fmt.Sprintf("/dev/loop%d", n)
	device, err := os.OpenFile(path, flags, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return device, err
	}
	// A /dev without devtmpfs has no node for a device that was just made.
	err = unix.Mknod(path, unix.S_IFBLK|0o660, int(unix.Mkdev(loopMajor, uint32(n))))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.OpenFile(path, flags, 0)
}
