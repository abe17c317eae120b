package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

const maxHolders = 20

// holders are the processes that use a filesystem, as "mariadbd (pid 812: open file)".
func (h *host) holders(major, minor uint32) []string {
	number := unix.Mkdev(major, minor)
	entries, err := os.ReadDir(h.path("/proc"))
	if err != nil {
		return nil
	}
	own, _ := os.Readlink(h.path("/proc/1/ns/mnt"))
	var found []string
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || len(found) == maxHolders {
			continue
		}
		if how := h.use(pid, number, own); how != "" {
			found = append(found,
				fmt.Sprintf("%s (pid %d: %s)", readText(h.path("/proc", entry.Name(), "comm")), pid,
					how))
		}
	}
	slices.Sort(found)
	return found
}

// use says how the process uses the filesystem; "" when it does not.
func (h *host) use(pid int, number uint64, hostNamespace string) string {
	dir := h.path("/proc", strconv.Itoa(pid))
	for _, link := range []string{"cwd", "root", "exe"} {
		if isOn(filepath.Join(dir, link), number) {
			return link
		}
	}
	open, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return "" // it ended
	}
	for _, fd := range open {
		if isOn(filepath.Join(dir, "fd", fd.Name()), number) {
			return "open file"
		}
	}
	mapped, _ := os.ReadDir(filepath.Join(dir, "map_files"))
	for _, file := range mapped {
		if isOn(filepath.Join(dir, "map_files", file.Name()), number) {
			return "mapped file"
		}
	}
	if ns, err := os.Readlink(filepath.Join(dir, "ns/mnt")); err == nil && ns != hostNamespace &&
		h.mountedIn(dir, number) {
		return "mount namespace of its own"
	}
	return ""
}

func isOn(path string, number uint64) bool {
	var stat unix.Stat_t
	return unix.Stat(path, &stat) == nil && stat.Dev == number
}

func (h *host) mountedIn(processDir string, number uint64) bool {
	entries, err := mountsIn(filepath.Join(processDir, "mountinfo"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries,
		func(e entry) bool { return unix.Mkdev(e.Major, e.Minor) == number })
}
