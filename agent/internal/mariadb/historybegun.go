package mariadb

import (
	little "encoding/binary"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
)

// begunAt is the time at which a log was begun: that in the header of its first event, or that of
// the file's birth when it is earlier. The first is the session's, whose user may have set it; the
// second is later than the truth in a datadir that was copied.
func begunAt(dir, name string) (time.Time, error) {
	logs, err := untrusted.Open(dir)
	if err != nil {
		return time.Time{}, err
	}
	defer logs.Close()
	file, err := logs.OpenFile(filepath.Base(name))
	if err != nil {
		return time.Time{}, err
	}
	defer file.Close()
	header := make([]byte, 4)
	if _, err := file.ReadAt(header, beginsAt); err != nil {
		return time.Time{}, err
	}
	begun := time.Unix(int64(little.LittleEndian.Uint32(header)), 0)
	var stat unix.Statx_t
	err = unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &stat)
	if err != nil || stat.Mask&unix.STATX_BTIME == 0 {
		return begun, err
	}
	if born := time.Unix(stat.Btime.Sec, int64(stat.Btime.Nsec)); born.Before(begun) {
		return born, nil
	}
	return begun, nil
}
