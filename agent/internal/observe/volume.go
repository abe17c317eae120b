package observe

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// Volume is the state of the filesystem and the device of a datadir.
type Volume struct {
	// Mount, Type, UsedBytes and FreeBytes are the filesystem's; Number is "major:minor" of its
	// device, MountID an id that no other mount ever gets.
	Mount, Type, Number  string
	MountID              uint64
	UsedBytes, FreeBytes int64
	// ReadOnly is true when it takes no writes.
	ReadOnly bool
	// WriteError is why a file cannot be written, when ReadOnly does not say it.
	WriteError string
	// Full is true when there is no room for MariaDB to grow.
	Full bool
	// DeviceGone is true when its block device is not there any more.
	DeviceGone bool
	// Fault is why nothing is known of it.
	Fault string
}

// lookAtVolume asks the kernel. It writes a file without a name, unless that would wait for the end
// of a quiesce: mount options do not tell of a filesystem that stopped after an error.
func lookAtVolume(datadir string, quiesced bool) Volume {
	at, err := mariadb.Locate(datadir)
	if err != nil {
		return Volume{Fault: err.Error()}
	}
	v := Volume{Mount: at.Mount, Type: at.Type, Number: at.Number, MountID: at.MountID,
		DeviceGone: deviceGone(at.Number)}
	dir, err := untrusted.Open(datadir)
	if err != nil {
		v.WriteError = err.Error()
		return v
	}
	defer dir.Close()
	room, err := dir.Room()
	if err != nil {
		v.WriteError = err.Error()
		return v
	}
	v.UsedBytes = int64(room.Blocks-room.Bfree) * room.Bsize
	v.FreeBytes = int64(room.Bavail) * room.Bsize
	v.Full = full(room)
	if v.ReadOnly = room.Flags&unix.ST_RDONLY != 0; v.ReadOnly || quiesced {
		return v
	}
	v.tell(dir.TryWrite())
	return v
}

// leastRoom is what MariaDB needs to go on writing: InnoDB grows a table by 4 MiB at once, an undo
// tablespace too, and refuses the statement where it cannot.
const leastRoom = 16 << 20

// full looks at what users have: root has blocks of its own, which MariaDB cannot write to.
func full(room unix.Statfs_t) bool {
	return room.Blocks > 0 && int64(room.Bavail)*room.Bsize < leastRoom
}

func (v *Volume) tell(err error) {
	switch {
	case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR):
	case errors.Is(err, unix.EROFS):
		v.ReadOnly = true
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		v.Full = true
	default:
		v.WriteError = err.Error()
	}
}

// deviceGone is false for a filesystem without a block device.
func deviceGone(number string) bool {
	if strings.HasPrefix(number, "0:") {
		return false
	}
	sys, err := untrusted.Open("/sys/dev/block")
	if err != nil {
		return false
	}
	defer sys.Close()
	_, err = sys.Stat(number)
	return errors.Is(err, fs.ErrNotExist)
}
