//go:build lab

package faults

import (
	"strings"

	"golang.org/x/sys/unix"
)

func snapshotRows() []row {
	return []row{
		{
			id: "S1", variant: "control plane killed", quick: true, run: (*lab).planeKilledFrozen,
			planted: "`kill -9` of the control plane while commits are blocked, the filesystem " +
				"is frozen and the provider does not answer",
			happens: "MariaDB resumes by itself at once; the next control plane quiesces it " +
				"again; one snapshot",
			why: "MariaDB resumes when the stream ends, in a process of the host; the snapshot " +
				"of a lost point is never used",
		},
		{
			id: "S1", variant: "control plane stopped past the limit",
			run: (*lab).planeStoppedFrozen,
			planted: "SIGSTOP of the control plane at the same moment; SIGCONT once the primary " +
				"serves",
			happens: "MariaDB resumes at the limit; the woken control plane deletes its " +
				"snapshot and quiesces again",
			why: "the host counts the limit; resume has to prove the point " +
				"unbroken after the cut",
		},
		{
			id: "S1", variant: "network cut", run: (*lab).networkCutFrozen,
			planted: "the primary's network goes down at the same moment",
			happens: "MariaDB resumes at the limit; once the network is back the job " +
				"quiesces again",
			why: "a half-open connection does not keep MariaDB quiesced",
		},
		{
			id: "S2", variant: "agent killed", quick: true,
			run:     func(l *lab) { l.strikeFrozen(unix.SIGKILL, agentOf, false) },
			planted: "`kill -9` of the primary's agent at the same moment",
			happens: "the process sees its agent end and resumes MariaDB; the job deletes its " +
				"snapshot " +
				"and quiesces again",
			why: "the process is a unit of its own that outlives the agent",
		},
		{
			id: "S2", variant: "agent stopped",
			run:     func(l *lab) { l.strikeFrozen(unix.SIGSTOP, agentOf, true) },
			planted: "SIGSTOP of the primary's agent at the same moment",
			happens: "the process resumes MariaDB at the limit; the job quiesces again",
			why:     "the limit is the process's own",
		},
		{
			id: "S2", variant: "process killed", quick: true,
			run:     func(l *lab) { l.strikeFrozen(unix.SIGKILL, processOf, false) },
			planted: "`kill -9` of the process that quiesces",
			happens: "MariaDB drops its locks, systemd thaws the filesystem; the job takes a new " +
				"quiesce",
			why: "ExecStopPost of its unit thaws, however the process ended",
		},
		{
			id: "S2", variant: "process stopped",
			run:     func(l *lab) { l.strikeFrozen(unix.SIGSTOP, processOf, false) },
			planted: "SIGSTOP of the process that quiesces",
			happens: "systemd ends the unit 1 s after the limit and thaws; the job takes a " +
				"quiesces again",
			why: "RuntimeMaxSec applies behind the process's own limit",
		},
		{
			id: "S3", variant: "killed after the cut", quick: true,
			run:     func(l *lab) { l.cutLost("after_effect:snapshot") },
			planted: "the control plane is killed between the provider's cut and the step's commit",
			happens: "the snapshot is found by its tag and deleted: its point was lost; a new " +
				"one " +
				"is made; never two",
			why: "the tag is set with the cut, so it is found without its id",
		},
		{
			id: "S3", variant: "killed after the commit",
			run:     func(l *lab) { l.cutLost("after_commit:snapshot") },
			planted: "the control plane is killed after the cut was committed, before the release",
			happens: "the snapshot is deleted: its point was not proved; a new one is made; " +
				"never two",
			why: "only a point that is proved afterwards makes a snapshot",
		},
		{
			id: "S4", variant: "LOCK TABLES", run: (*lab).lockedTables,
			planted: "`LOCK TABLES … WRITE` for as long as the job lasts",
			happens: "the job gives up with QUIESCE_NOT_ACQUIRED, writers never having waited " +
				"longer than one attempt at the lock; once the table is unlocked, a retry takes " +
				"the snapshot",
			why: "each stage has a lock_wait_timeout of seconds, and what was had is given back",
		},
		{
			id: "S4", variant: "long transaction", run: (*lab).longTransaction,
			planted: "an open transaction with changes, for as long as the job lasts",
			happens: "the snapshot is taken, without the transaction",
			why:     "BACKUP STAGE does not wait for transactions to end",
		},
		{
			id: "S5", variant: "second snapshot", quick: true, run: (*lab).secondSnapshot,
			planted: "a second snapshot of the same server is requested while the first one " +
				"quiesces",
			happens: "it is refused, naming the job that is under way; the first one is not " +
				"touched",
			why: "the subject `snapshotting/SERVER` is locked in the transaction that makes " +
				"the job",
		},
	}
}

func (l *lab) planeKilledFrozen() {
	f := l.freeze()
	l.Kill()
	l.thaws(f)
	f.answer()
	l.start()
	l.oneCut(f.job, 2)
}

func (l *lab) planeStoppedFrozen() {
	f := l.freeze()
	pid := l.PID()
	l.signal(pid, unix.SIGSTOP)
	defer l.signal(pid, unix.SIGCONT)
	l.thaws(f)
	f.answer()
	l.signal(pid, unix.SIGCONT)
	l.oneCut(f.job, 2)
}

func (l *lab) networkCutFrozen() {
	f := l.freeze()
	device := l.networkDevice(primary)
	l.onNetwork(primary, "ip", "link", "set", device, "down")
	l.thaws(f)
	f.answer()
	l.onNetwork(primary, "ip", "link", "set", device, "up")
	l.oneCut(f.job, 2)
}

// networkDevice is a host's one device that is not the loopback.
func (l *lab) networkDevice(host string) string {
	l.t.Helper()
	for line := range strings.Lines(l.onNetwork(host, "ip", "-brief", "link")) {
		name, _, _ := strings.Cut(strings.Fields(line)[0], "@")
		if name != "lo" {
			return name
		}
	}
	l.t.Fatalf("%s has no network device", host)
	return ""
}

func agentOf(f *frozen) int   { return f.agent }
func processOf(f *frozen) int { return f.process }

// strikeFrozen sends a signal to one of the host's processes while the primary is frozen.
func (l *lab) strikeFrozen(s unix.Signal, of func(*frozen) int, wake bool) {
	f := l.freeze()
	pid := of(f)
	l.signal(pid, s)
	if wake {
		defer l.signal(pid, unix.SIGCONT)
	}
	l.thaws(f)
	f.answer()
	if wake {
		l.signal(pid, unix.SIGCONT)
	}
	l.oneCut(f.job, 2)
}

func (l *lab) cutLost(failpoint string) {
	l.dieAt(failpoint)
	job := l.detach("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
	l.awaitDead()
	if n := len(l.snapshots()); n == 0 {
		l.t.Fatal("nothing was cut")
	}
	l.start()
	l.oneCut(job, 2)
}

func (l *lab) lockedTables() {
	conn, err := l.root(primary).Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	l.must(conn, "CREATE TABLE IF NOT EXISTS "+l.schema()+".gate (id INT PRIMARY KEY)")
	l.must(conn, "LOCK TABLES "+l.schema()+".gate WRITE")
	job := l.detach("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
	l.fails(job, "QUIESCE_NOT_ACQUIRED")
	if longest := l.writer.Longest(); longest > quiesceLimit {
		l.t.Errorf("a commit took %s although Quiesce gave up", longest)
	}
	l.must(conn, "UNLOCK TABLES")
	l.run("job", "retry", job)
	l.oneCut(job, 1)
}

func (l *lab) longTransaction() {
	conn, err := l.root(primary).Conn(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	l.must(conn, "CREATE TABLE IF NOT EXISTS "+l.schema()+".gate (id INT PRIMARY KEY)")
	l.must(conn, "START TRANSACTION")
	l.must(conn, "INSERT INTO "+l.schema()+".gate VALUES (1)")
	l.run("snapshot", "create", primary, "--quiesce-limit", quiesceLimit.String())
	if longest := l.writer.Longest(); longest > quiesceLimit {
		l.t.Errorf("a commit took %s", longest)
	}
	l.must(conn, "ROLLBACK")
}

func (l *lab) secondSnapshot() {
	f := l.freeze()
	l.refuse([]string{strings.TrimPrefix(f.job, "jobs/")}, "snapshot", "create", primary)
	f.answer()
	l.oneCut(f.job, 1)
}
