//go:build lab

package faults

import (
	"database/sql"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

func planeRows() []row {
	return []row{
		{
			id: "C4", variant: "owner stopped past its lease", run: (*lab).twoPlanes,
			planted: "a second control plane on the same store; SIGSTOP of the first in the middle of a job, SIGCONT when the second has finished it",
			happens: "the second takes the job over and finishes it; the first commits nothing more",
			why:     "each transaction of a worker writes the job's row under its epoch; agents refuse older epochs",
		},
		{
			id: "C5", variant: "same request id", quick: true, run: (*lab).sameRequest,
			planted: "a snapshot is asked for twice with one request id",
			happens: "one job, one snapshot",
			why:     "the request id is unique in the store",
		},
		{
			id: "C6", variant: "while frozen", quick: true, run: (*lab).cancelFrozen,
			planted: "a snapshot's job is cancelled at its worst moment",
			happens: "CANCELLED; the primary is released, what was cut is deleted",
			why:     "release runs although the job is cancelled",
		},
	}
}

func (l *lab) twoPlanes() {
	snap := l.snap()
	m := making{name: l.name()}
	m.job = l.detach("replica", "create", m.name, "--from", snap, "--image", "trixie-masked")
	l.await(m.job, time.Minute, func(j *job) bool { return stepOf(j, "start_mariadb").GetState() == stepRunning })
	first := l.stopIdle()
	second := l.second()
	defer second.Stop()
	l.eventually(2*time.Minute, "the second control plane finishes the job", func() bool { return l.stepState(m.job, "settle") == "succeeded" })
	before := l.attempts(m.job)
	l.signal(first, unix.SIGCONT)
	l.connect()
	l.succeeds(m.job)
	if after := l.attempts(m.job); after != before {
		l.t.Errorf("the woken control plane wrote: %s, then %s", before, after)
	}
	l.madeOnce(m)
	l.same(m.name)
}

// stopIdle stops the control plane with SIGSTOP at a moment when it holds neither the provider's lock nor the store's: nobody could go on
// while a process that is stopped has those.
func (l *lab) stopIdle() (pid int) {
	l.t.Helper()
	pid = l.PID()
	l.eventually(20*time.Second, "a moment without a lock", func() bool {
		l.signal(pid, unix.SIGSTOP)
		if l.unlocked() {
			return true
		}
		l.signal(pid, unix.SIGCONT)
		return false
	})
	return pid
}

func (l *lab) unlocked() bool {
	file, err := os.OpenFile(l.labDir("lock"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	db, err := sql.Open("sqlite", "file:"+l.storePath()+"?mode=rw&_txlock=immediate&_pragma=busy_timeout(100)")
	if err != nil {
		return false
	}
	defer db.Close()
	tx, err := db.BeginTx(l.t.Context(), nil)
	return err == nil && tx.Rollback() == nil
}

// attempts are the epochs and states of all attempts of a job.
func (l *lab) attempts(job string) string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	var all []string
	for _, row := range l.query(db, "SELECT seq, attempt, epoch, state FROM job_attempts WHERE job_id = ? ORDER BY seq, attempt", strings.TrimPrefix(job, "jobs/")) {
		all = append(all, strings.Join(row, "/"))
	}
	return strings.Join(all, " ")
}

func (l *lab) sameRequest() {
	id := uuid.NewString()
	one := l.detach("snapshot", "create", primary, "--request-id", id)
	two := l.detach("snapshot", "create", primary, "--request-id", id)
	if one != two {
		l.t.Errorf("two jobs: %s and %s", one, two)
	}
	l.oneCut(one, 1)
}

func (l *lab) cancelFrozen() {
	f := l.freeze()
	l.run("job", "cancel", f.job, "--detach")
	l.thaws(f)
	f.answer()
	l.await(f.job, time.Minute, ended)
	l.run("job", "cleanup", f.job)
}
