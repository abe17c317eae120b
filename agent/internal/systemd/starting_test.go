package systemd

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAStartHasAnEnd holds the time since the begin to what systemd tells; what it does not tell is
// long ago.
func TestAStartHasAnEnd(t *testing.T) {
	t.Parallel()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	since := startsSince(fmt.Sprintf("@t %d", time.Duration(now.Nano()).Microseconds()))
	if since < 0 || since > time.Minute {
		t.Errorf("it began %s ago", since)
	}
	for _, began := range []string{"", "@t", "@t x", `"a"`} {
		if since := startsSince(began); since < startLimit {
			t.Errorf("%q: %s", began, since)
		}
	}
}
