//go:build lab

package faults

import (
	"database/sql"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

func planeRows() []row {
	return []row{
		{
			id: "C4", variant: "owner stopped past its lease", run: (*lab).twoPlanes,
			planted: "a second control plane on the same store; SIGSTOP of the first in the " +
				"middle of a job, SIGCONT when the second has finished it",
			happens: "the second takes the job over and finishes it; the first commits " +
				"nothing more",
			why: "each transaction of a worker writes the job's row under its epoch; agents " +
				"refuse older epochs",
		},
		{
			id: "C4", variant: "call of a lost worker", quick: true, run: (*lab).staleCall,
			planted: "the control plane is stopped with a change about to be sent to an agent; a " +
				"second one takes the job over and finishes it; then the first is woken",
			happens: "its call reaches the agent, which refuses it with STALE_EPOCH; nothing on " +
				"the host or in the store changes",
			why: "agents remember the highest epoch of each job",
		},
		{
			id: "C5", variant: "same request id", run: (*lab).sameRequest,
			planted: "a snapshot is asked for twice with one request id",
			happens: "one job, one snapshot",
			why:     "the request id is unique in the store",
		},
		{
			id: "C6", variant: "while frozen", quick: true, run: (*lab).cancelFrozen,
			planted: "a snapshot's job is cancelled at its worst moment",
			happens: "CANCELLED; the primary is released, what was cut is deleted",
			why:     "resume runs although the job is cancelled",
		},
	}
}

func (l *lab) twoPlanes() {
	snap := l.snap()
	m := making{name: l.name()}
	m.job = l.detach("replica", "create", m.name, "--from", snap, "--image", "trixie-masked")
	l.await(m.job, 4*time.Minute,
		func(j *job) bool { return stepOf(j, "start_mariadb").GetState() == stepRunning })
	first := l.stopIdle()
	second := l.second()
	defer second.Stop()
	l.eventually(2*time.Minute, "the second control plane finishes the job",
		func() bool { return l.stepState(m.job, "settle") == "succeeded" })
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

// stopIdle stops the control plane with SIGSTOP at a moment when it holds neither the provider's
// lock nor the store's: nobody could go on while a process that is stopped has those.
func (l *lab) stopIdle() (pid int) {
	l.t.Helper()
	pid = l.PID()
	l.eventually(2*time.Minute, "a moment without a lock", func() bool {
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
	db, err := sql.Open("sqlite",
		"file:"+l.storePath()+"?mode=rw&_txlock=immediate&_pragma=busy_timeout(100)")
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
	for _, row := range l.query(db, "SELECT seq, attempt, epoch, state FROM job_attempts WHERE "+
		"job_id = ? ORDER BY seq, attempt", strings.TrimPrefix(job, "jobs/")) {
		all = append(all, strings.Join(row, "/"))
	}
	return strings.Join(all, " ")
}

// staleCall wakes a worker that has lost its job with a call in its hand. The store is locked
// meanwhile, or it would be told first.
func (l *lab) staleCall() {
	for range 20 {
		l.Stop()
		l.start("UNDERSTUDY_FAILPOINT=stop@before_call:ReserveBinlogs")
		job, _ := l.asks("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
		l.eventually(2*time.Minute, "the control plane stops before its call", l.stopped)
		if !l.unlocked() { // nobody could take over from a process that is stopped with a lock
			l.wake()
			l.succeeds(job)
			continue
		}
		if l.wakeLate(job) {
			return
		}
	}
	l.t.Error("the late call never reached the agent: its worker knew before")
}

// wakeLate has a second control plane finish the job, wakes the first, and says whether its call
// came through to the agent.
func (l *lab) wakeLate(job string) (refused bool) {
	l.t.Helper()
	second := l.second()
	defer second.Stop()
	l.eventually(2*time.Minute, "the second control plane finishes the job",
		func() bool { return l.stepState(job, "settle") == "succeeded" })
	attempts, reserved := l.attempts(job),
		l.exec(primary, "cat", "/var/lib/understudy-agent/reservations.json")
	lost := func() int {
		log, err := os.ReadFile(l.LogPath())
		if err != nil {
			l.t.Fatal(err)
		}
		return strings.Count(string(log), "the job is lost to this process")
	}
	unlock, before := l.lockStore(), lost()
	defer unlock()
	l.wake()
	l.eventually(2*time.Minute, "the first control plane finds out",
		func() bool { return lost() > before })
	unlock()
	l.connect()
	l.succeeds(job)
	if after := l.attempts(job); after != attempts {
		l.t.Errorf("the woken control plane wrote: %s, then %s", attempts, after)
	}
	if after := l.exec(primary, "cat",
		"/var/lib/understudy-agent/reservations.json"); after != reserved {
		l.t.Errorf("the late call changed the host: %s, then %s", reserved, after)
	}
	for line := range strings.Lines(l.exec(primary, "journalctl", "--unit=understudy-agent.service",
		"--output=cat", "--no-pager")) {
		if strings.Contains(line, "ReserveBinlogs") && strings.Contains(line, job) &&
			strings.Contains(line, "is owned under epoch") {
			l.t.Logf("the agent: %s", line)
			refused = true
		}
	}
	return refused
}

// lockStore keeps everybody from writing to the store until the lock is given back.
func (l *lab) lockStore() (unlock func()) {
	l.t.Helper()
	db, err := sql.Open("sqlite",
		"file:"+l.storePath()+"?mode=rw&_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		l.t.Fatal(err)
	}
	tx, err := db.BeginTx(l.bg(), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_ = tx.Rollback()
		db.Close()
	})
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
	l.await(f.job, 4*time.Minute, ended)
	l.run("job", "cleanup", f.job)
}
