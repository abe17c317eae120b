package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fiThaw is not in x/sys: _IOWR('X', 120, int).
const fiThaw = 0xC0045878

// thaw thaws the filesystems on loop devices that the group's processes see. The power loss of a
// real machine ends a freeze; here a freeze would keep a process that writes there from dying, and
// the volume in use.
func thaw(group string) {
	_ = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		// a process that is half dead has threads alone
		if err == nil && entry.Name() == "cgroup.threads" {
			threads, _ := os.ReadFile(path)
			thawMounts(strings.Fields(string(threads)))
		}
		return nil
	})
}

func thawMounts(threads []string) {
	for _, thread := range threads {
		file, err := os.Open(filepath.Join("/proc", thread, "mountinfo"))
		if err != nil {
			continue
		}
		mounts, err := mountinfo.GetMountsFromReader(file,
			func(info *mountinfo.Info) (skip, stop bool) {
				return !strings.HasPrefix(info.Source, "/dev/loop"), false
			})
		file.Close()
		if err != nil {
			continue
		}
		for _, mount := range mounts {
			thawAt(filepath.Join("/proc", thread, "root", mount.Mountpoint))
		}
	}
}

func thawAt(path string) {
	dir, err := os.Open(path)
	if err != nil {
		return
	}
	defer dir.Close()
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fiThaw, 0) // fails where nothing was frozen
}
