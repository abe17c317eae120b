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

// isOn says whether the machine's system runs, as opposed to being booted or restarted.
func (l lab) isOn(m *machineRecord) bool {
	if m.Leader == 0 {
		return false
	}
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", m.Leader))
	// else the number is another's by now
	return err == nil && strings.Contains(string(group), m.ID)
}

// plug makes the device appear in the machine: a node, and a link by the volume's name.
func (l lab) plug(m *machineRecord, volume string) error {
	n, err := l.ensureLoop(l.volumeFile(volume))
	if err != nil {
		return err
	}
	dev, err := openDev(m.Leader)
	if err != nil {
		return err
	}
	defer dev.Close()
	node := fmt.Sprintf("loop%d", n)
	err = unix.Mknodat(int(dev.Fd()), node, unix.S_IFBLK|0o660,
		int(unix.Mkdev(loopMajor, uint32(n))))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot plug volume %s into machine %s: %w", volume, m.ID, err)
	}
	byID, err := openByID(dev)
	if err != nil {
		return err
	}
	defer byID.Close()
	link, target := l.deviceName(volume), "../../"+node
	if readLink(byID, link) == target {
		return nil
	}
	if err := unlinkAt(byID, link); err != nil {
		return err
	}
	return unix.Symlinkat(target, int(byID.Fd()), link)
}

// unplug removes the link and the node that it points at.
func (l lab) unplug(m *machineRecord, volume string) error {
	dev, err := openDev(m.Leader)
	if err != nil {
		return err
	}
	defer dev.Close()
	byID, err := openByID(dev)
	if err != nil {
		return err
	}
	defer byID.Close()
	node := filepath.Base(readLink(byID, l.deviceName(volume)))
	if strings.HasPrefix(node, "loop") {
		if err := unlinkAt(dev, node); err != nil {
			return err
		}
	}
	return unlinkAt(byID, l.deviceName(volume))
}

// openDev opens a machine's /dev. Every path inside is resolved in the machine: a link
// made there must not lead to the box's own /dev.
func openDev(leader int) (*os.File, error) {
	root, err := os.Open(fmt.Sprintf("/proc/%d/root", leader))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return openIn(root, "dev")
}

func openIn(dir *os.File, path string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(int(dir.Fd()), path, &how)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s in a machine: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openByID(dev *os.File) (*os.File, error) {
	for _, dir := range []string{"disk", "disk/by-id"} {
		if err := unix.Mkdirat(int(dev.Fd()), dir, 0o755); err != nil &&
			!errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return openIn(dev, "disk/by-id")
}

func readLink(dir *os.File, name string) string {
	buffer := make([]byte, 256)
	n, err := unix.Readlinkat(int(dir.Fd()), name, buffer)
	if err != nil {
		return ""
	}
	return string(buffer[:n])
}

func unlinkAt(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
