//go:build lab

package faults

import (
	"strings"
	"time"
)

func clockRows() []row {
	return []row{
		{
			id: "C7", variant: "an hour forward while frozen", alone: true,
			run: func(l *lab) { l.clockStepsFrozen(time.Hour) },
			planted: "the clock of control plane and host steps an hour forward while commits " +
				"are blocked and the filesystem is frozen",
			happens: "MariaDB resumes at the limit, not before and not after; the job quiesces " +
				"again",
			why: "process, unit and stream count on the monotonic clock",
		},
		{
			id: "C7", variant: "an hour back while frozen", alone: true,
			run:     func(l *lab) { l.clockStepsFrozen(-time.Hour) },
			planted: "the same, an hour back",
			happens: "the same",
			why:     "the same",
		},
		{
			id: "C7", variant: "an hour forward in a replica's job", alone: true,
			run: func(l *lab) { l.clockStepsInJob(time.Hour) },
			planted: "two control planes on one store; the clock steps an hour forward in the " +
				"middle of a replica's job, and later back",
			happens: "converges; no control plane takes the job from the other; reservations and " +
				"certificates stay good",
			why: "a heartbeat is a count that is watched on the watcher's monotonic clock; a " +
				"reservation ends by the time since boot",
		},
		{
			id: "C7", variant: "an hour back in a replica's job", alone: true,
			run:     func(l *lab) { l.clockStepsInJob(-time.Hour) },
			planted: "the same, an hour back, and later forward",
			happens: "the same",
			why:     "the same; certificates are valid from two hours before they were made",
		},
	}
}

func (l *lab) clockStepsFrozen(offset time.Duration) {
	f := l.freeze()
	l.misdated = append(l.misdated, strings.TrimPrefix(f.job, "jobs/"))
	right := l.stepClock(offset)
	l.thaws(f)
	right()
	if longest := l.writer.Longest(); longest < quiesceLimit-2*time.Second {
		l.t.Errorf("MariaDB resumed after %s, the limit is %s: the clock's step ended it early",
			longest,
			quiesceLimit)
	}
	f.answer()
	l.oneCut(f.job, 2)
}

// epochs are those under which a job was worked on.
func (l *lab) epochs(job string) []string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	var all []string
	for _, row := range l.query(db, "SELECT DISTINCT epoch FROM job_attempts WHERE job_id = ?",
		strings.TrimPrefix(job, "jobs/")) {
		all = append(all, row[0])
	}
	return all
}

// clockStepsInJob moves the clock while the new machine's agent enrols and while MariaDB starts,
// and each time puts it right again some seconds later, with the job under way.
func (l *lab) clockStepsInJob(offset time.Duration) {
	snap := l.snap()
	second := l.second()
	defer second.Stop()
	m := making{name: l.name()}
	m.job = l.detach("replica", "create", m.name, "--from", snap, "--image", "trixie-masked")
	l.misdated = append(l.misdated, strings.TrimPrefix(m.job, "jobs/"))
	l.await(m.job, 4*time.Minute,
		func(j *job) bool { return stepOf(j, "await_agent").GetState() == stepRunning })
	right := l.stepClock(offset)
	l.within(8*time.Second, func() bool { return l.stepState(m.job, "mount_data") == "running" })
	right()
	l.await(m.job, 4*time.Minute,
		func(j *job) bool { return stepOf(j, "start_mariadb").GetState() == stepRunning })
	right = l.stepClock(offset)
	l.within(8*time.Second, func() bool { return l.stepState(m.job, "settle") == "succeeded" })
	right()
	l.succeeds(m.job)
	if epochs := l.epochs(m.job); len(epochs) != 1 {
		l.t.Errorf("the job changed hands: it was worked on under the epochs %v", epochs)
	}
	l.madeOnce(m)
	l.same(m.name)
}
