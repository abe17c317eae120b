//go:build lab

package faults

import (
	"slices"
	"strings"
	"time"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func cancelRows() []row {
	return []row{
		{
			id: "C6", variant: "in every step of a snapshot",
			run: func(l *lab) {
				l.cancelInEach("snapshot", "create", primary, "--quiesce-limit",
					quiesceLimit.String())
			},
			planted: "a snapshot's job is cancelled while it stands before the effect of a step, " +
				"one job for each step",
			happens: "CANCELLED; the primary goes on, and `job cleanup` leaves nothing",
			why: "a cancelled job resumes the server as well; what it made is " +
				"found by its tags",
		},
		{
			id: "C6", variant: "in every step of a replica", long: true,
			run: func(l *lab) {
				l.cancelInEach("replica", "create", "", "--of", primary,
					"--image", "trixie-masked")
			},
			planted: "the same, with a replica's job that takes its own snapshot",
			happens: "the same",
			why:     "the same",
		},
		{
			id: "C6", variant: "with the cut's answer lost", only: onEC2, quick: true,
			run: (*lab).cancelUnanswered,
			planted: "CreateSnapshot has its effect, its answer is lost; the job is cancelled " +
				"while what was cut is pending, and EC2 may not show it yet",
			happens: "CANCELLED; the cut is found and deleted",
			why: "what a call without an answer may have made is looked for until EC2 would " +
				"show it",
		},
	}
}

func (l *lab) cancelUnanswered() {
	l.dropSnap()
	// pending for long: the job has not succeeded when it is cancelled
	struck := l.plan(planned{Action: "CreateSnapshot", Times: 1, LoseAnswer: true, Slow: 60})
	job := l.detach("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
	l.eventually(2*time.Minute, "the snapshot is cut",
		func() bool { return len(l.snapshots()) > 0 })
	l.run("job", "cancel", job, "--detach")
	struck()
	l.cancelledIn(job, false)
	l.cleaned(job)
}

// cancelInEach cancels a job of its own in each step, as the store lists them. An empty argument
// stands for a name that was never used.
func (l *lab) cancelInEach(args ...string) {
	l.dropSnap() // it has a reservation
	began, steps := time.Now(), []string{"plan"}
	if args[0] == "snapshot" {
		steps[0] = "check_primary"
	}
	var ended []string
	for i := 0; i < len(steps); i++ {
		job := l.cancelIn(steps[i], args)
		if i == 0 {
			steps = l.steps(job)
		}
		ended = append(ended, steps[i]+": "+l.cancelledIn(job, i == len(steps)-1))
		l.cleaned(job)
	}
	l.t.Logf("%d jobs in %s; cancelled in, ended in: %s", len(steps),
		time.Since(began).Round(time.Second), strings.Join(ended, ", "))
}

// cancelIn starts a job and cancels it while it stands before the effect of a step: the control
// plane that runs it is stopped there, and another one on the same store takes the cancel.
func (l *lab) cancelIn(step string, args []string) string {
	l.t.Helper()
	l.Stop()
	l.start("UNDERSTUDY_FAILPOINT=stop@before_effect:" + step)
	defer l.wake()
	args = slices.Clone(args)
	if i := slices.Index(args, ""); i >= 0 {
		args[i] = l.name()
	}
	job, _ := l.asks(args...)
	l.eventually(3*time.Minute, job+" stands before "+step, l.stopped)
	other := l.second()
	defer other.Stop()
	conn, err := other.Dial()
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := cpv1.NewJobServiceClient(conn).CancelJob(l.t.Context(),
		&cpv1.CancelJobRequest{Name: job}); err != nil {
		l.t.Fatalf("cannot cancel %s in %s: %v", job, step, err)
	}
	return job
}

// cancelledIn is the step that a job was cancelled in. One that was in its last step may have
// succeeded.
func (l *lab) cancelledIn(job string, last bool) string {
	l.t.Helper()
	j := l.await(job, 4*time.Minute, ended)
	if s := j.GetState(); s != cpv1.Job_STATE_CANCELLED &&
		!(last && s == cpv1.Job_STATE_SUCCEEDED) {
		l.t.Errorf("%s is %s, not cancelled: %v", job, s, j.GetError())
	}
	for _, s := range j.GetSteps() {
		if s.GetState() == cpv1.Step_STATE_CANCELLED {
			return s.GetName()
		}
	}
	return "the end"
}

// cleaned takes away what a job made, and looks for what that left, on the primary too.
func (l *lab) cleaned(job string) {
	l.t.Helper()
	if j := l.await(job, 4*time.Minute, ended); j.GetState() != cpv1.Job_STATE_SUCCEEDED {
		l.run(append([]string{"job", "cleanup", job}, l.confirmed(job)...)...)
		l.checkTidy()
	}
	l.tidy()
	h := l.lookAt(primary)
	if h.quiescing != "" || len(h.reservations) > 0 || len(h.timers) > 0 {
		l.t.Errorf("%s left on the primary: units %q, reservations %v, timers %v", job, h.quiescing,
			h.reservations, h.timers)
	}
	if longest := l.writer.Longest(); longest > longestCommit {
		l.t.Errorf("%s kept a commit waiting for %s", job, longest)
	}
	l.writer.Reset()
}

// confirmed names the server that a job made, when a user could miss its data: it was READY, or it
// is a primary.
func (l *lab) confirmed(job string) (args []string) {
	db := l.store()
	defer db.Close()
	for _, s := range docs[serverDoc](l, db, "servers") {
		if s.Job == strings.TrimPrefix(job, "jobs/") &&
			(s.State == "READY" || s.Role == "PRIMARY") {
			args = append(args, "--yes-delete", s.Name)
		}
	}
	return args
}
