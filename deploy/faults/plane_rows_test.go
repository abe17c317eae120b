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
			id: "C1", variant: "after the effect of mount_data", quick: true, run: func(l *lab) { l.diesOnce("after_effect:mount_data") },
			planted: "the control plane is killed between the effect of mount_data and its commit",
			happens: "the job goes on by itself; the volume is found mounted; MariaDB is started once",
			why:     "the step is run again and looks before it acts",
		},
		{
			id: "C1", variant: "after the effect of every step", run: func(l *lab) { l.diesAtEach("after_effect") },
			planted: "the control plane is killed between effect and commit of each step in turn, in one job",
			happens: "the job goes on after each; one machine, one volume, one snapshot, one account, one start",
			why:     "each effect carries a key under which it is found again",
		},
		{
			id: "C1", variant: "before the effect of every step", run: func(l *lab) { l.diesAtEach("before_effect") },
			planted: "the same, before the effect of each step",
			happens: "the same",
			why:     "a step that was begun is begun again",
		},
		{
			id: "C1", variant: "after the commit of every step", run: func(l *lab) { l.diesAtEach("after_commit") },
			planted: "the same, after the commit of each step",
			happens: "the same",
			why:     "the next worker starts at the first step that has no commit",
		},
		{
			id: "C2", variant: "agent killed in every step", run: (*lab).agentDiesInEach,
			planted: "`kill -9` of the replica's and the primary's agent as each step begins",
			happens: "the job waits for the agents and goes on; everything was made once",
			why:     "an agent that is away is waited for; its calls can be made twice",
		},
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

func (l *lab) diesOnce(failpoint string) {
	m := l.makeUntil(failpoint)
	l.goesOn(m)
	l.madeOnce(m)
}

// madeOnce expects one start of MariaDB on the replica; what the provider and the primary have is checked after each row.
func (l *lab) madeOnce(m making) {
	l.t.Helper()
	if n := l.starts(m.name); n != 1 {
		l.t.Errorf("MariaDB was started %d times, not once", n)
	}
	machines, volumes := 0, 0
	for _, machine := range l.machines() {
		if machine.Name == m.name {
			machines++
		}
	}
	id := l.machineOf(m.name).ID
	for _, v := range l.volumes() {
		if v.MachineID == id {
			volumes++
		}
	}
	if machines != 1 || volumes != 1 {
		l.t.Errorf("%s has %d machines and %d volumes", m.name, machines, volumes)
	}
}

// steps are the names of the steps of a job that takes its own snapshot, as the store has them: a new step is covered when it is written.
func (l *lab) steps(job string) []string {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	var names []string
	for _, row := range l.query(db, "SELECT kind FROM job_steps WHERE job_id = ? ORDER BY seq", strings.TrimPrefix(job, "jobs/")) {
		names = append(names, row[0])
	}
	return names
}

func (l *lab) diesAtEach(point string) {
	m := making{name: l.name()}
	l.dieAt(point + ":plan")
	m.job = l.detach("replica", "create", m.name, "--of", primary, "--image", "trixie-masked")
	l.awaitDead()
	for _, step := range l.steps(m.job)[1:] {
		if state := l.stepState(m.job, step); state == "succeeded" {
			l.t.Fatalf("%s was done before its turn", step)
		}
		l.start("UNDERSTUDY_FAILPOINT=" + point + ":" + step)
		l.awaitDead()
	}
	l.goesOn(m)
	l.madeOnce(m)
}

func (l *lab) agentDiesInEach() {
	m := making{name: l.name()}
	m.job = l.detach("replica", "create", m.name, "--of", primary, "--image", "trixie-masked")
	struck := map[string]bool{}
	l.await(m.job, 3*time.Minute, func(j *job) bool {
		for _, s := range j.GetSteps() {
			if s.GetState() == stepRunning && !struck[s.GetName()] {
				struck[s.GetName()] = true
				l.maybe(primary, "systemctl", "kill", "--signal=KILL", "understudy-agent.service")
				l.maybe(m.name, "systemctl", "kill", "--signal=KILL", "understudy-agent.service")
			}
		}
		return ended(j)
	})
	l.succeeds(m.job)
	l.madeOnce(m)
	l.same(m.name)
	if len(struck) < 10 {
		l.t.Errorf("the agents were killed in %d steps alone", len(struck))
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
