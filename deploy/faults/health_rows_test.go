//go:build lab

package faults

import (
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// healthRows are about what a server's state says while it is broken.
func healthRows() []row {
	return []row{
		{
			id: "F14", variant: "MariaDB killed while a job works", quick: true,
			run: (*lab).killedInJob,
			planted: "MariaDB of a READY replica is killed and not restarted; a snapshot of it " +
				"is asked for, and waits",
			happens: "DEGRADED, MARIADB_DOWN, in seconds, while the job waits; READY once it runs",
			why:     "the state is what the agent's stream says; a job hides nothing",
		},
		{
			id: "F14", variant: "filesystem read-only while a job waits",
			run: (*lab).readOnlyInJob,
			planted: "the filesystem of a READY replica's datadir goes read-only after an error " +
				"(remount,abort); a snapshot of it is asked for, and waits",
			happens: "DEGRADED, VOLUME_READ_ONLY, in seconds",
			why:     "the agent writes a file without a name, which no mount option tells",
		},
		{
			id: "F14", variant: "agent killed", run: (*lab).agentKilled,
			planted: "the agent of a READY replica is killed and not restarted; then it runs, " +
				"and is stopped by SIGSTOP",
			happens: "UNREACHABLE in seconds, both times; READY once it answers",
			why:     "silence is seen as well as a closed connection",
		},
		{
			id: "F14", variant: "thread stopped while a job waits", run: (*lab).threadStoppedInJob,
			planted: "somebody stops the SQL thread of a READY replica while a snapshot of it " +
				"waits",
			happens: "DEGRADED, REPLICATION_STOPPED, in seconds; READY once it runs",
			why:     "only the job that stopped a thread is an excuse for it",
		},
		{
			id: "F14", variant: "no identity on record", run: (*lab).noIdentity,
			planted: "the record of a READY replica has no identity of its agent, as after a " +
				"token that was used before its server had a record; its SQL thread is stopped",
			happens: "DEGRADED in seconds",
			why:     "every server that was READY is observed, whoever enrolled its agent",
		},
		{
			id: "F14", variant: "MariaDB cannot be observed in full", long: true,
			run: (*lab).oldFacts,
			planted: "the agent of a READY replica cannot read MariaDB's option files any more, " +
				"while MariaDB answers",
			happens: "DEGRADED, FACTS_OLD, with the reason, after a minute; READY once it can",
			why:     "READY over settings of long ago is proved by nothing",
		},
		{
			id: "F14", variant: "a volume that comes late at boot", run: (*lab).lateAtBoot,
			planted: "the host of a READY replica is restarted, and the mount of its volume waits",
			happens: "DEGRADED, its host is starting, and no word of a lost volume; READY once " +
				"it is mounted",
			why: "until systemd has started the host, a datadir on the root filesystem is no loss",
		},
		{
			id: "F14", variant: "two replicas with one server_id", run: (*lab).twinIDs,
			planted: "another replica of the primary is given the server_id of a READY replica",
			happens: "DEGRADED, SERVER_ID_TAKEN, naming the other one; READY once it has its own",
			why: "the primary lets one of them in at a time, in turns for ever, and neither sees " +
				"an error: the primary's list of replicas tells",
		},
	}
}

// seen waits until the record of a server says so, and how long that took.
func (l *lab) seen(name, state, words string) {
	l.t.Helper()
	l.seenWithin(time.Minute, name, state, words)
}

func (l *lab) seenWithin(limit time.Duration, name, state, words string) {
	l.t.Helper()
	began := time.Now()
	said := ""
	l.eventually(limit, name+" is "+state+" "+words, func() bool {
		var err error
		said, err = l.try("server", "get", name)
		said = strings.Join(strings.Fields(said), " ")
		return err == nil && strings.Contains(said, state) && strings.Contains(said, words)
	})
	l.t.Logf("%s is %s (%s) after %s", name, state, words, time.Since(began).Round(
		10*time.Millisecond))
}

const agentUnit = "understudy-agent.service"

const agentDropIn = "/run/systemd/system/understudy-agent.service.d/zz-fault.conf"

// noRestart keeps systemd from starting a unit of a host again.
func (l *lab) noRestart(host, dropIn string) (again func()) {
	l.t.Helper()
	l.put(host, dropIn, "[Service]\nRestart=no\n")
	l.exec(host, "systemctl", "daemon-reload")
	return func() {
		l.exec(host, "rm", dropIn)
		l.exec(host, "systemctl", "daemon-reload")
	}
}

func (l *lab) killedInJob() {
	name := l.stand()
	again := l.noRestart(name, "/run/systemd/system/"+mariadbUnit+".d/zz-fault.conf")
	l.exec(name, "systemctl", "kill", "--signal=KILL", mariadbUnit)
	job := l.detach("snapshot", "create", name)
	l.seen(name, "DEGRADED", mariadbUnit+" failed")
	l.run("job", "cancel", job)
	again()
	l.exec(name, "systemctl", "reset-failed", mariadbUnit)
	l.exec(name, "systemctl", "start", mariadbUnit)
	l.whole(name)
}

func (l *lab) lateAtBoot() {
	name := l.stand()
	const hold = "/etc/systemd/system/zz-hold.service"
	drop := "/etc/systemd/system/srv-mariadb.mount.d/zz-fault.conf"
	l.put(name, hold, "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n"+
		"RemainAfterExit=yes\nTimeoutStartSec=infinity\n"+
		"ExecStart=/bin/sh -c 'until [ -e /run/go-on ]; do sleep 0.2; done'\n")
	l.put(name, drop, "[Unit]\nWants=zz-hold.service\nAfter=zz-hold.service\n")
	l.exec(name, "systemctl", "daemon-reload")
	if err := l.Lab(l.t.Context(), "reboot", name).Run(); err != nil {
		l.t.Fatal(err)
	}
	l.seen(name, "DEGRADED", "its host is starting")
	if said := l.run("server", "get", name); strings.Contains(said, "not on its volume") {
		l.t.Errorf("its volume is said to be lost:\n%s", said)
	}
	l.exec(name, "touch", "/run/go-on")
	l.ready(name)
	l.exec(name, "rm", hold, drop)
	l.exec(name, "systemctl", "daemon-reload")
	l.whole(name)
}

func (l *lab) readOnlyInJob() {
	name := l.wholeJob()
	l.exec(name, "mount", "-o", "remount,abort", l.mountOf(name))
	job := l.detach("snapshot", "create", name)
	l.seen(name, "DEGRADED", "read-only")
	_, _ = l.try("job", "cancel", job) // it is refused where the state was seen before it began
	l.run("server", "delete", name, "--yes")
}

// mountOf is where the filesystem of a host's datadir is mounted.
func (l *lab) mountOf(name string) string {
	l.t.Helper()
	return l.exec(name, "findmnt", "--noheadings", "--output", "TARGET", "--first-only",
		"--target", "/srv/mariadb")
}

func (l *lab) agentKilled() {
	name := l.stand()
	again := l.noRestart(name, agentDropIn)
	l.exec(name, "systemctl", "kill", "--signal=KILL", agentUnit)
	l.seen(name, "UNREACHABLE", "")
	again()
	l.exec(name, "systemctl", "start", agentUnit)
	l.whole(name)
	l.exec(name, "systemctl", "kill", "--signal=STOP", agentUnit)
	l.seen(name, "UNREACHABLE", "has not answered")
	l.exec(name, "systemctl", "kill", "--signal=CONT", agentUnit)
	l.whole(name)
}

func (l *lab) threadStoppedInJob() {
	name := l.stand()
	l.sql(name, "STOP SLAVE SQL_THREAD")
	job := l.detach("snapshot", "create", name)
	l.seen(name, "DEGRADED", "SQL thread is not running")
	_, _ = l.try("job", "cancel", job) // it may have ended
	l.sql(name, "START SLAVE SQL_THREAD")
	l.whole(name)
}

func (l *lab) oldFacts() {
	name := l.stand()
	const tool = "/usr/bin/my_print_defaults"
	l.exec(name, "chmod", "000", tool)
	l.seenWithin(3*time.Minute, name, "DEGRADED", "MariaDB has not been observed in full")
	l.exec(name, "chmod", "755", tool)
	l.whole(name)
}

func (l *lab) twinIDs() {
	name := l.stand()
	other := l.wholeJob()
	id, own := l.sql(name, "SELECT @@server_id"), l.sql(other, "SELECT @@server_id")
	l.sql(other, fmt.Sprintf("STOP REPLICA; SET GLOBAL server_id = %s; START REPLICA", id))
	l.seen(name, "DEGRADED", "its server_id is also that of "+other)
	l.sql(other, fmt.Sprintf("STOP REPLICA; SET GLOBAL server_id = %s; START REPLICA", own))
	l.whole(name)
	l.whole(other)
	l.run("server", "delete", other, "--yes")
}

func (l *lab) noIdentity() {
	name := l.stand()
	l.Kill()
	db, err := sql.Open("sqlite", "file:"+l.storePath())
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := db.ExecContext(l.t.Context(), "UPDATE servers SET rev = rev + 1, doc = "+
		"json_set(doc, '$.AgentIdentity', '') WHERE name = ?", name); err != nil {
		l.t.Fatal(err)
	}
	db.Close()
	l.start()
	l.sql(name, "STOP SLAVE SQL_THREAD")
	l.seen(name, "DEGRADED", "SQL thread is not running")
	l.sql(name, "START SLAVE SQL_THREAD")
	l.whole(name)
}
