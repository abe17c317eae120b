package app

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// failpoint is a place in the work of one step at which the process ends as if by a power cut.
type failpoint struct {
	point job.Point
	step  string
}

// parseFailpoint reads "point:step"; empty is none.
func parseFailpoint(text string) (failpoint, error) {
	if text == "" {
		return failpoint{}, nil
	}
	point, step, _ := strings.Cut(text, ":")
	points := []job.Point{job.BeforeEffect, job.AfterEffect, job.AfterCommit}
	if step == "" || !slices.Contains(points, job.Point(point)) {
		return failpoint{}, fmt.Errorf("failpoint: %q is not POINT:STEP with one of %v", text, points)
	}
	return failpoint{point: job.Point(point), step: step}, nil
}

// hook is called by the engine at each of its failpoints; nil when there is none.
func (f failpoint) hook(log *slog.Logger) func(job.Point, string, string) {
	if f == (failpoint{}) {
		return nil
	}
	log.Warn("this control plane will kill itself: a failpoint is set", "point", string(f.point), "step", f.step)
	return func(point job.Point, _, step string) {
		if point != f.point || step != f.step {
			return
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err == nil {
			select {} // nothing of this process may go on
		}
	}
}
