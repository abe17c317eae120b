//go:build lab

package faults

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	clockBase  = "FAULTS_CLOCK_BASE"
	clockAlarm = 12 * time.Second // by then the clock is right again, whatever became of the row
)

// TestMain is also the program that puts the clock right when a row that moved it is killed.
func TestMain(m *testing.M) {
	if text := os.Getenv(clockBase); text != "" {
		guardClock(text)
		return
	}
	os.Exit(m.Run())
}

// guardClock puts the clock right when its input ends, and at the alarm.
func guardClock(text string) {
	base, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ended := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(ended) }()
	fmt.Println("ready")
	select {
	case <-ended:
	case <-time.After(clockAlarm):
	}
	if err := setClock(base, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// clockNow is what a clock shows, in nanoseconds.
func clockNow(clock int32) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic(err) // these clocks are always there
	}
	return t.Nano()
}

// setClock sets the wall clock to what it was at the base, plus the time that the monotonic clock
// has counted since, plus an offset.
func setClock(base int64, offset time.Duration) error {
	t := unix.NsecToTimespec(base + clockNow(unix.CLOCK_MONOTONIC) + int64(offset))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &t); err != nil {
		return fmt.Errorf("cannot set the clock: %w", err)
	}
	return nil
}

// stepClock moves this box's clock by an offset and returns what puts it right again. A process of
// its own does so too, when this one dies or forgets.
func (l *lab) stepClock(offset time.Duration) (right func()) {
	l.t.Helper()
	base := clockNow(unix.CLOCK_REALTIME) - clockNow(unix.CLOCK_MONOTONIC)
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	guard := exec.Command(self)
	guard.Env = append(os.Environ(), clockBase+"="+strconv.FormatInt(base, 10))
	guard.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	var said bytes.Buffer
	guard.Stderr = &said
	input, err := guard.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	output, err := guard.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, len("ready\n"))); err != nil {
		l.t.Fatalf("the clock's guard did not start: %v", err)
	}
	moved := time.Now()
	if err := setClock(base, offset); err != nil {
		l.t.Fatal(err)
	}
	done := false
	right = func() {
		if done {
			return
		}
		done = true
		if err := setClock(base, 0); err != nil {
			l.t.Error(err)
		}
		input.Close()
		if err := guard.Wait(); err != nil {
			l.t.Errorf("the clock's guard: %v: %s", err, said.String())
		}
		if took := time.Since(moved); took > clockAlarm {
			l.t.Errorf("the clock was put right by its guard before the row was done with it, "+
				"which took %s", took)
		}
	}
	l.t.Cleanup(right)
	return right
}
