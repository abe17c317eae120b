//go:build lab

package faults

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func cancelRows() []row {
	return []row{
		{
			id: "C6", variant: "in every step of a snapshot", run: func(l *lab) { l.cancelInEach("snapshot", "create", primary, "--hold-limit", holdLimit.String()) },
			planted: "a snapshot's job is cancelled as each step begins, one job after the other",
			happens: "CANCELLED; the primary goes on, and `job cleanup` leaves nothing",
			why:     "what is held is released also when a job is cancelled; what it made is found by its tags",
		},
		{
			id: "C6", variant: "in every step of a replica", run: func(l *lab) { l.cancelInEach("replica", "create", "", "--of", primary, "--image", "trixie-masked") },
			planted: "a replica's job that takes its own snapshot is cancelled as each step begins, one job after the other",
			happens: "the same",
			why:     "the same",
		},
	}
}

// cancelInEach cancels a job of its own in each step, as the store lists them. An empty argument stands for a name that was never used.
func (l *lab) cancelInEach(args ...string) {
	l.dropSnap() // it has a reservation
	began := time.Now()
	first := l.cancelIn("", args)
	steps := l.steps(first)
	l.cleaned(first)
	var struck []string
	for _, step := range steps {
		job := l.cancelIn(step, args)
		at := l.cancelledIn(job)
		l.cleaned(job)
		struck = append(struck, at)
	}
	l.t.Logf("%d jobs in %s, cancelled in: %s", len(steps)+1, time.Since(began).Round(time.Second), strings.Join(struck, " "))
	if hit := slices.Compact(slices.Sorted(slices.Values(struck))); len(hit) < len(steps)/2 {
		l.t.Errorf("of the steps %v the jobs were cancelled in %v alone", steps, hit)
	}
}

// cancelIn starts a job and cancels it as soon as a step of it runs, or at once when no step is given.
func (l *lab) cancelIn(step string, args []string) string {
	l.t.Helper()
	args = slices.Clone(args)
	if i := slices.Index(args, ""); i >= 0 {
		args[i] = l.name()
	}
	job := l.detach(args...)
	if step != "" {
		l.await(job, 2*time.Minute, func(j *cpv1.Job) bool {
			return stepOf(j, step).GetState() > cpv1.Step_STATE_PENDING || ended(j)
		})
	}
	_, err := cpv1.NewJobServiceClient(l.conn).CancelJob(l.t.Context(), &cpv1.CancelJobRequest{Name: job})
	if err != nil && status.Code(err) != codes.FailedPrecondition { // it was over already
		l.t.Fatalf("cannot cancel %s in %s: %v", job, step, err)
	}
	return job
}

// cancelledIn is the step that a job was cancelled in, nothing when it was done before. Neither may have held up the primary.
func (l *lab) cancelledIn(job string) string {
	l.t.Helper()
	j := l.await(job, 2*time.Minute, ended)
	if s := j.GetState(); s != cpv1.Job_STATE_CANCELLED && s != cpv1.Job_STATE_SUCCEEDED {
		l.t.Errorf("%s is %s, not cancelled: %v", job, s, j.GetError())
	}
	for _, s := range j.GetSteps() {
		if s.GetState() == cpv1.Step_STATE_CANCELLED {
			return s.GetName()
		}
	}
	return ""
}

// cleaned takes away what a job made, and looks for what that left, on the primary too.
func (l *lab) cleaned(job string) {
	l.t.Helper()
	if j := l.await(job, 2*time.Minute, ended); j.GetState() != cpv1.Job_STATE_SUCCEEDED {
		l.run("job", "cleanup", job)
		l.checkTidy()
	}
	l.tidy()
	h := l.lookAt(primary)
	if h.holding != "" || len(h.reservations) > 0 || len(h.timers) > 0 {
		l.t.Errorf("%s left on the primary: holds %q, reservations %v, timers %v", job, h.holding, h.reservations, h.timers)
	}
	if longest := l.writer.Longest(); longest > holdLimit+time.Second {
		l.t.Errorf("%s kept a commit waiting for %s", job, longest)
	}
	l.writer.Reset()
}
