package mariadb

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/proto/atomicfile"
)

// Reservation keeps binary logs.
type Reservation struct {
	// ID is the caller's.
	ID string `json:"id"`
	// FirstFile is the oldest binary log that is kept.
	FirstFile string `json:"first_file"`
	// Until is when it ends by itself, by the wall clock.
	Until time.Time `json:"until"`
	// Boot and BootUntil are the same on the monotonic clock of one boot: a clock that is set does
	// not move it.
	Boot      string        `json:"boot"`
	BootUntil time.Duration `json:"boot_until"`
}

// left is the time until the end; not positive when it is over.
func (r Reservation) left(boot string, now time.Duration) time.Duration {
	if r.Boot == boot {
		return r.BootUntil - now
	}
	return time.Until(r.Until)
}

// expiry is MariaDB's own rule for deleting binary logs.
type expiry struct {
	Seconds   int64 `json:"expire_seconds"`
	TotalSize int64 `json:"total_size"`
}

// reservations are kept across restarts of the agent.
type reservations struct {
	Reservations []Reservation `json:"reservations"`
	// Original is the expiry to go back to after the last reservation; nil when none was changed.
	Original *expiry `json:"original,omitempty"`
}

// reservationFile is the file of the reservations. The agent and the program that a timer starts
// both change it.
type reservationFile struct{ path string }

// read is the content; the lock is not needed to see one of the states.
func (f *reservationFile) read() (content reservations, err error) {
	if _, err = atomicfile.ReadJSON(f.path, &content); err != nil {
		err = fmt.Errorf("cannot read the binlog reservations: %w", err)
	}
	return content, err
}

// change gives the content to a function and keeps what it made of it, alone against other
// processes.
func (f *reservationFile) change(how func(*reservations) error) error {
	return f.holding(func(content reservations) error {
		if err := how(&content); err != nil {
			return err
		}
		return f.write(content)
	})
}

// holding gives the content to a function while no other process changes it.
func (f *reservationFile) holding(use func(reservations) error) error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return diskError("cannot keep the binlog reservations", err)
	}
	lock, err := os.OpenFile(f.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return diskError("cannot keep the binlog reservations", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("cannot lock the binlog reservations: %w", err)
	}
	content, err := f.read()
	if err != nil {
		return err
	}
	return use(content)
}

// write keeps the content; for a function that change runs.
func (f *reservationFile) write(content reservations) error {
	return diskError("cannot keep the binlog reservations", atomicfile.WriteJSON(f.path, content))
}

// clock is this boot's id and the time since it began.
func clock() (boot string, now time.Duration, err error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, fmt.Errorf("cannot read the boot id: %w", err)
	}
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return "", 0, fmt.Errorf("cannot read the monotonic clock: %w", err)
	}
	return strings.TrimSpace(string(text)), time.Duration(t.Nano()), nil
}
