// Package failpoint ends or stops this process at a point of a job's step, for tests of what a
// crash leaves behind.
package failpoint

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

// Variable is the environment variable that holds failpoints.
const Variable = "UNDERSTUDY_FAILPOINT"

// BeforeCall is the point before a call to an agent; its step is the call's name, such as
// "ReserveBinlogs". The other points are the engine's.
const BeforeCall job.Point = "before_call"

const (
	everyStep  = "*"
	stopPrefix = "stop@"
)

// Set is failpoints; each strikes at most once in a step.
type Set []point

// point is where the process ends by SIGKILL, or stops by SIGSTOP until it is woken.
type point struct {
	at   job.Point
	step string
	stop bool
}

// Parse reads "point:step" and "stop@point:step", separated by commas; "*" is every step. An empty
// text is no failpoint.
func Parse(text string) (all Set, err error) {
	if text == "" {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		place, stop := strings.CutPrefix(item, stopPrefix)
		at, step, _ := strings.Cut(place, ":")
		points := []job.Point{job.BeforeEffect, job.AfterEffect, job.AfterCommit, BeforeCall}
		if step == "" || !slices.Contains(points, job.Point(at)) {
			return nil, fmt.Errorf("failpoint: %q is not POINT:STEP or %sPOINT:STEP with one of %v",
				item, stopPrefix, points)
		}
		all = append(all, point{at: job.Point(at), step: step, stop: stop})
	}
	return all, nil
}

// Hooks are called at each point of a step, and before each call to an agent; nil without
// failpoints. quietly runs a function while this process writes nothing to its store.
func (all Set) Hooks(log *slog.Logger, quietly func(context.Context, func()) error) (
	atStep func(at job.Point, job, step string), beforeCall func(method string)) {
	if len(all) == 0 {
		return nil, nil
	}
	for _, p := range all {
		log.Warn("a failpoint is set: this process will end or stop itself", "point",
			string(p.at), "step", p.step)
	}
	var mu sync.Mutex
	struck := map[point]bool{}
	atStep = func(at job.Point, _, step string) {
		for _, p := range all {
			if p.at != at || p.step != everyStep && p.step != step {
				continue
			}
			p.step = step
			mu.Lock()
			first := !struck[p]
			struck[p] = true
			mu.Unlock()
			if first {
				p.strike(log, quietly)
			}
		}
	}
	return atStep, func(method string) { atStep(BeforeCall, "", method) }
}

// stoppedLine is logged before the process stops, so that whoever wakes it knows where it is.
const stoppedLine = "stopped at a failpoint"

func (p point) strike(log *slog.Logger, quietly func(context.Context, func()) error) {
	if !p.stop {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err == nil {
			select {} // nothing of this process may go on
		}
	}
	// A process that stopped in a write would keep the store's lock from every other one.
	if err := quietly(context.Background(), func() { p.stopHere(log) }); err != nil {
		log.Error("cannot stop", "error", err)
	}
}

func (p point) stopHere(log *slog.Logger) {
	log.Warn(stoppedLine, "point", string(p.at), "step", p.step)
	// The signal goes to this very thread: no other one is sure to take it before this one goes on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP); err != nil {
		log.Error("cannot stop", "error", err)
	}
}
