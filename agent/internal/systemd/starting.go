package systemd

import (
	"context"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// startLimit is how long systemd may take to start the host: a device of a mount has 90 seconds,
// and one job that hangs is not to count as a start for ever.
const startLimit = 5 * time.Minute

// Starting reports whether systemd is still starting the host: not all that belongs to it runs, as
// while a mount waits for its device. It is false when systemd does not tell.
func (m *Manager) Starting(ctx context.Context) bool {
	conn, err := m.bus.connect(ctx)
	if err != nil {
		return false
	}
	state, err := conn.SystemStateContext(ctx)
	if err != nil {
		return false
	}
	if is, _ := state.Value.Value().(string); is != "initializing" && is != "starting" {
		return false
	}
	began, err := conn.GetManagerProperty("UserspaceTimestampMonotonic")
	return err == nil && startsSince(began) < startLimit
}

// startsSince is how long ago that was, "@t" and microseconds of the monotonic clock.
func startsSince(began string) time.Duration {
	var now unix.Timespec
	at, err := strconv.ParseInt(strings.TrimPrefix(began, "@t "), 10, 64)
	if err != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return startLimit
	}
	return time.Duration(now.Nano()) - time.Duration(at)*time.Microsecond
}
