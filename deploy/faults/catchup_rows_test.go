//go:build lab

package faults

import (
	"database/sql"
	"time"
)

// catchUpRows strike while a replica catches up.
func catchUpRows() []row {
	return []row{
		{
			id: "R7", variant: "both threads killed", run: (*lab).threadsKilled,
			planted: "somebody kills both replication threads while the replica catches up",
			happens: "started again; converges",
			why:     "catch_up looks at the threads all the while that it waits",
		},
		{
			id: "R9", variant: "primary restarted",
			run:     func(l *lab) { l.primaryRestarts("systemctl", "restart", mariadbUnit) },
			planted: "the primary's MariaDB is restarted while the replica catches up",
			happens: "waited for; converges",
			why:     "a primary that is away is no error of the replica's",
		},
		{
			id: "R9", variant: "primary killed",
			run: func(l *lab) {
				l.primaryRestarts("systemctl", "kill", "--signal=KILL",
					mariadbUnit)
			},
			planted: "the primary's MariaDB is killed while the replica catches up; systemd " +
				"starts it again",
			happens: "the same",
			why:     "the same",
		},
	}
}

// behind brings a replica's job into catch_up and keeps it there, with more to apply than it can,
// until let go is called.
func (l *lab) behind(source string) (m making, letGo func()) {
	l.t.Helper()
	m = l.makeOf(source, "before_effect:catch_up")
	gate, err := l.root(m.name).Conn(l.bg())
	if err != nil {
		l.t.Fatal(err)
	}
	l.must(gate, "LOCK TABLES "+l.schemaOf(source)+".probe READ")
	l.start()
	l.await(m.job, 4*time.Minute,
		func(j *job) bool { return stepOf(j, "catch_up").GetProgress().GetTotal() > 0 || ended(j) })
	if state := l.stepState(m.job, "catch_up"); state != "running" {
		l.t.Fatalf("catch_up is %s", state)
	}
	return m, func() {
		l.must(gate, "UNLOCK TABLES")
		gate.Close()
	}
}

func (l *lab) threadsKilled() {
	m, letGo := l.behind(primary)
	root := l.root(m.name)
	threads := l.threads(root)
	if len(threads) < 2 {
		l.t.Fatalf("the replica's threads are %v", threads)
	}
	// A worker may have gone with its coordinator; one that tries its transaction again forgets
	// that it was killed.
	l.eventually(2*time.Minute, "the killed threads are gone", func() bool {
		left := l.threads(root, threads...)
		for _, id := range left {
			_, _ = root.Exec("KILL " + id)
		}
		return len(left) == 0
	})
	letGo()
	l.succeeds(m.job)
	l.same(m.name)
}

// threads are the ids of a replica's replication threads; those among some when given.
func (l *lab) threads(root *sql.DB, among ...string) (ids []string) {
	l.t.Helper()
	for _, found := range l.query(root, "SELECT id FROM information_schema.processlist WHERE "+
		"user = 'system user' AND command LIKE 'Slave%'") {
		ids = append(ids, found[0])
	}
	if among == nil {
		return ids
	}
	return intersection(ids, among)
}

func intersection(a, b []string) (both []string) {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				both = append(both, x)
			}
		}
	}
	return both
}

func (l *lab) primaryRestarts(argv ...string) {
	source := l.another("--image", "trixie")
	m, letGo := l.behind(source)
	l.quiet(source)
	l.restarts(source, argv...)
	l.writes(source)
	letGo()
	l.succeeds(m.job)
	l.sameAs(source, m.name)
}

// restarts runs a command that has MariaDB of a host run anew, and waits until it answers.
func (l *lab) restarts(host string, argv ...string) {
	l.t.Helper()
	run := []string{"systemctl", "show", "--property=InvocationID", "--value", mariadbUnit}
	before := l.exec(host, run...)
	l.exec(host, argv...)
	l.eventually(2*time.Minute, host+" answers again", func() bool {
		return l.maybe(host, run...) != before && l.ask(host) != nil
	})
}
