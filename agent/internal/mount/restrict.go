package mount

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// dataOptions are untrusted.DataMount in words.
const dataOptions = "nosuid,nodev,noexec"

// restrict sets these options on a mount that lacks one, as that of somebody's fstab may, while it
// is in use. It says whether it did.
func restrict(path string) (bool, error) {
	var now unix.Statfs_t
	if err := unix.Statfs(path, &now); err != nil {
		return false, fmt.Errorf("cannot read the options of the mount at %s: %w", path, err)
	}
	if now.Flags&untrusted.DataMount == untrusted.DataMount {
		return false, nil
	}
	// The others of this mount stay: the call sets all.
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | untrusted.DataMount |
		now.Flags&(unix.MS_RDONLY|unix.MS_NOATIME|unix.MS_NODIRATIME))
	switch {
	case now.Flags&unix.ST_RELATIME != 0:
		flags |= unix.MS_RELATIME
	case now.Flags&unix.MS_NOATIME == 0:
		flags |= unix.MS_STRICTATIME
	}
	if err := unix.Mount("", path, "", flags, ""); err != nil {
		return false, fmt.Errorf("cannot restrict the mount at %s: %w", path, err)
	}
	return true, nil
}

// restrict does so and reports it.
func (r *report) restrict(path string) error {
	did, err := restrict(path)
	if did {
		r.changed(path + " is mounted " + dataOptions + " now")
	}
	return err
}
