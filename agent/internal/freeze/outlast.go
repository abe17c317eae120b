package freeze

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// outlastPoll is the time between two thaws.
const outlastPoll = 100 * time.Millisecond

// Outlast thaws the filesystem at the mount point until no process of the unit is left, this one
// aside, and once more then. A process that is killed while it freezes dies when the kernel has
// frozen the filesystem, which waits for every write that is under way: until then there is nothing
// to thaw.
func Outlast(ctx context.Context, path, unit string) error {
	return outlast(ctx, unit, func() error { return thawMounted(path) }, processLeft)
}

func outlast(ctx context.Context, unit string, thaw func() error,
	processLeft func(unit string) (bool, error)) error {
	for {
		left, err := processLeft(unit) // before the thaw: what is gone by then freezes no more
		thawErr := thaw()
		if err := errors.Join(err, thawErr); !left {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a process of %s is still about to end: %w", unit, ctx.Err())
		case <-time.After(outlastPoll):
		}
	}
}

// thawMounted thaws what is mounted there, if something is.
func thawMounted(path string) error {
	_, err := Thaw(path)
	if errors.Is(err, ErrRoot) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// processLeft says whether a process of the unit is left besides this one. It asks each thread: the
// first one of a process that was killed is gone long before one that the kernel is busy with.
func processLeft(unit string) (bool, error) {
	first, err := os.ReadFile("/proc/1/cgroup")
	if err != nil {
		return false, fmt.Errorf("cannot see the host's processes: %w", err)
	}
	threads, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	if err != nil {
		return false, err
	}
	group := groupOf(unit, string(first))
	own := filepath.Join("/proc", strconv.Itoa(os.Getpid())) + "/"
	for _, thread := range threads {
		if !strings.HasPrefix(thread, own) && isIn(thread, group) && isAlive(thread) {
			return true, nil
		}
	}
	return false, nil
}

// groupOf is the control group of a transient unit, next to that of systemd itself: a container has
// units of the same names. It is empty where systemd does not run.
func groupOf(unit, first string) string {
	for line := range strings.Lines(first) {
		line, is := strings.CutSuffix(strings.TrimSpace(line), "/init.scope")
		if words := strings.SplitN(line, ":", 3); is && len(words) == 3 {
			return words[2] + "/system.slice/" + unit
		}
	}
	return ""
}

func isIn(thread, group string) bool {
	groups, _ := os.ReadFile(filepath.Join(thread, "cgroup")) // it may have ended by now
	for line := range strings.Lines(string(groups)) {
		if group != "" && strings.HasSuffix(strings.TrimSpace(line), ":"+group) {
			return true
		}
	}
	return false
}

func isAlive(thread string) bool {
	stat, err := os.ReadFile(filepath.Join(thread, "stat"))
	if err != nil {
		return false
	}
	// Its name, in brackets, may have any sign in it.
	_, after, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	return after != "" && after[0] != 'Z' && after[0] != 'X'
}
