package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// failpoint is a place in the work of one step, or of each, at which the process ends as if by a
// power cut, or stops until it is woken. Of the point beforeCall the step is the name of a call to
// an agent, "ReserveBinlogs".
type failpoint struct {
	point job.Point
	step  string
	stop  bool
}

const beforeCall job.Point = "before_call"

const (
	everyStep  = "*"
	stopPrefix = "stop@"
)

// parseFailpoints reads "point:step" and "stop@point:step", separated by commas; empty is none.
func parseFailpoints(text string) (failpoints, error) {
	var all failpoints
	for item := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		place, stop := strings.CutPrefix(item, stopPrefix)
		point, step, _ := strings.Cut(place, ":")
		points := []job.Point{job.BeforeEffect, job.AfterEffect, job.AfterCommit, beforeCall}
		if step == "" || !slices.Contains(points, job.Point(point)) {
			return nil, fmt.Errorf("failpoint: %q is not POINT:STEP or %sPOINT:STEP with one of %v",
				item, stopPrefix, points)
		}
		all = append(all, failpoint{point: job.Point(point), step: step, stop: stop})
	}
	return all, nil
}

// failpoints strike at most once in each step.
type failpoints []failpoint

// quieter runs a function while no write of this process is under way in the store.
type quieter interface {
	Quietly(ctx context.Context, fn func()) error
}

// hook is called by the engine at each of its failpoints; nil when there is none.
func (all failpoints) hook(st quieter, log *slog.Logger) func(job.Point, string, string) {
	if len(all) == 0 {
		return nil
	}
	for _, f := range all {
		log.Warn("this control plane will kill or stop itself: a failpoint is set", "point",
			string(f.point), "step", f.step)
	}
	var mu sync.Mutex
	struck := map[failpoint]bool{}
	return func(point job.Point, _, step string) {
		for _, f := range all {
			if f.point != point || f.step != everyStep && f.step != step {
				continue
			}
			f.step = step
			mu.Lock()
			first := !struck[f]
			struck[f] = true
			mu.Unlock()
			if first {
				f.strike(st, log)
			}
		}
	}
}

// callHook is called before each call to an agent; nil when there is no failpoint.
func (all failpoints) callHook(st quieter, log *slog.Logger) func(method string) {
	hook := all.hook(st, log)
	if hook == nil {
		return nil
	}
	return func(method string) { hook(beforeCall, "", method) }
}

// stoppedLine is what the log says before the process stops, so that whoever wakes it knows where
// it is.
const stoppedLine = "stopped at a failpoint"

func (f failpoint) strike(st quieter, log *slog.Logger) {
	if !f.stop {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err == nil {
			select {} // nothing of this process may go on
		}
	}
	// A process that stopped in a write would keep the store's lock from every other one.
	if err := st.Quietly(context.Background(), func() { f.stopHere(log) }); err != nil {
		log.Error("cannot stop", "error", err)
	}
}

func (f failpoint) stopHere(log *slog.Logger) {
	log.Warn(stoppedLine, "point", string(f.point), "step", f.step)
	// The signal goes to this very thread: no other one is sure to take it before this one goes on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP); err != nil {
		log.Error("cannot stop", "error", err)
	}
}
