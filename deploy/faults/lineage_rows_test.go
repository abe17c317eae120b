//go:build lab

package faults

import (
	"fmt"
	"strings"
	"time"
)

// lineageRows are about a binary log whose history the agent of its host cannot tell alone.
func lineageRows() []row {
	return []row{
		{
			id: "F2", variant: "the state of the agent is lost", run: (*lab).stateLost,
			planted: "on a primary with a READY replica, which is written to: " +
				"/var/lib/understudy-agent is deleted, and the host joins again",
			happens: "the replica stays READY, and a replica from a snapshot of before is made",
			why: "the control plane knows what the agent claimed last, and the log has it, and " +
				"all that the replica has read",
		},
		{
			id: "F2", variant: "the state of the agent is lost, and RESET MASTER",
			run: (*lab).stateLostAndReset,
			planted: "the same, and RESET MASTER meanwhile, then more transactions than there " +
				"were",
			happens: "the replica is DEGRADED, LINEAGE_BROKEN, with what the log lacks",
			why:     "a claim counts when the log has the events that it is of",
		},
		{
			id: "F2", variant: "the state of the agent is lost, and an older datadir",
			run: (*lab).stateLostAndPutBack,
			planted: "the same, and a datadir of before the latest transactions is put back " +
				"meanwhile, on the same filesystem, then more transactions than were lost",
			happens: "the same",
			why:     "the log of an older datadir ends before the claim, and before what was read",
		},
		{
			id: "F2", variant: "the state of the agent is lost, and a purge",
			run:     (*lab).stateLostAndPurged,
			planted: "the same, and the binary log that the claim is in is purged meanwhile",
			happens: "the replica is DEGRADED, LINEAGE_BROKEN; it is READY once all its data was " +
				"compared and the history accepted, and stays DEGRADED where a row differs",
			why: "that nothing is lost is for an operator to say, and for the data to prove",
		},
		{
			id: "F2", variant: "a tail is lost while the agent is down", run: (*lab).tailLost,
			planted: "the agent of a primary is killed; its READY replica reads some " +
				"transactions more; MariaDB is killed and they are cut off its binary log; it " +
				"takes more transactions than were lost; then the agent runs",
			happens: "the replica is DEGRADED, LINEAGE_BROKEN, naming what it has read",
			why: "a log does not grow any more once MariaDB began the next one: its end tells, " +
				"whatever numbers were used since",
		},
	}
}

// followed is a primary of the row's own with a table and a READY replica.
func (l *lab) followed() (source, name string) {
	source, name = l.unwritten("--image", "trixie"), l.name()
	l.sql(source, "CREATE TABLE mysql.again (id INT)")
	l.run("replica", "create", name, "--of", source, "--image", "trixie-masked")
	return source, name
}

// rows inserts some on a primary.
func (l *lab) rows(source string, n int) {
	l.t.Helper()
	l.sql(source, strings.Repeat("INSERT INTO mysql.again VALUES (1); ", n))
}

// reads waits until the replica has applied all.
func (l *lab) reads(source, name string) {
	l.t.Helper()
	at := l.sql(source, "SELECT @@gtid_binlog_pos")
	l.eventually(time.Minute, name+" is at "+at, func() bool {
		return l.sql(name, "SELECT @@gtid_slave_pos") == at
	})
}

// loseState deletes the agent's state on a host while something else happens there. The host joins
// again.
func (l *lab) loseState(host string, meanwhile func()) {
	l.t.Helper()
	line, err := l.CLI(l.t.Context(), "token", "create", host, "--replace").Output()
	if err != nil {
		l.t.Fatal(err)
	}
	l.exec(host, "sh", "-ec", "systemctl disable --now "+agentUnit+"; "+
		"rm -rf /var/lib/understudy-agent; mkdir -m 700 /var/lib/understudy-agent")
	meanwhile()
	l.exec(host, "sh", "-ec", string(line))
}

// lineageBroken expects the finding on a replica, with that reason, in which % is any text.
func (l *lab) lineageBroken(name, reason string) {
	l.t.Helper()
	l.degraded(name, "LINEAGE_BROKEN")
	l.degraded(name, reason)
}

func (l *lab) stateLost() {
	source, name := l.followed()
	l.writes(source)
	snap := l.snapped(source)
	db := l.store()
	defer db.Close()
	history := func() string {
		return l.query(db, "SELECT json_extract(doc, '$.History') FROM servers WHERE name = ?",
			name)[0][0]
	}
	was := history()
	l.loseState(source, func() {})
	l.ready(source)
	// The job waits until the history is known.
	other := l.name()
	l.run("replica", "create", other, "--from", snap, "--image", "trixie-masked")
	l.sameAs(source, other)
	l.sameAs(source, name)
	if states := l.query(db, "SELECT message FROM events WHERE subject = ? AND action = "+
		"'server.state' AND message LIKE '%DEGRADED%'", "servers/"+name); len(states) > 0 {
		l.t.Errorf("%s was %v", name, states)
	}
	if history() != was {
		l.t.Errorf("%s follows %s, it followed %s", name, history(), was)
	}
	l.ready(name)
	l.ready(other)
}

// snapped takes a snapshot, and answers with its name.
func (l *lab) snapped(source string) string {
	l.t.Helper()
	l.run("snapshot", "create", source)
	return l.latest(source)
}

// latest is the latest snapshot of a primary.
func (l *lab) latest(source string) (snap string) {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	for _, s := range docs[snapshotDoc](l, db, "snapshots") {
		if s.Server == source {
			snap = s.ID
		}
	}
	return snap
}

func (l *lab) stateLostAndReset() {
	source, name := l.followed()
	l.rows(source, 20)
	l.reads(source, name)
	l.loseState(source, func() {
		l.sql(source, "RESET MASTER")
		l.rows(source, 200)
	})
	l.lineageBroken(name, "another history since (%mariadb-bin.0")
}

func (l *lab) stateLostAndPurged() {
	source, name := l.followed()
	l.sql(source, "CREATE DATABASE kept; CREATE TABLE kept.t (id INT PRIMARY KEY); "+
		"INSERT INTO kept.t VALUES (1)")
	l.reads(source, name)
	l.run("snapshot", "delete", l.latest(source), "--yes") // which needs what is purged
	claimed := strings.Fields(l.sql(source, "SHOW MASTER STATUS"))[0]
	l.loseState(source, func() {
		l.sql(source, "FLUSH BINARY LOGS")
		l.rows(source, 20)
		l.reads(source, name)
		l.sql(source, "PURGE BINARY LOGS TO '"+
			strings.Fields(l.sql(source, "SHOW MASTER STATUS"))[0]+"'")
	})
	l.lineageBroken(name, "another history since (the binary log has no "+claimed)
	accept := []string{"replica", "verify", name, "--level", "full", "--accept-history",
		"a purge while the agent was reinstalled"}
	l.refuse([]string{"GTID_MISMATCH", "accept the history"}, accept[:5]...)
	l.sql(name, "SET sql_log_bin = 0; INSERT INTO kept.t VALUES (2)")
	l.refuse([]string{"DATA_MISMATCH", "kept.t"}, accept...)
	l.degraded(name, "LINEAGE_BROKEN")
	l.sql(name, "SET sql_log_bin = 0; DELETE FROM kept.t WHERE id = 2")
	l.run(accept...)
	l.ready(name)
}

func (l *lab) stateLostAndPutBack() {
	source, name := l.followed()
	datadir := "/var/lib/mysql"
	l.exec(source, "sh", "-ec", "systemctl stop "+mariadbUnit+"; cp -a "+datadir+
		" /root/older; systemctl start "+mariadbUnit)
	l.rows(source, 20)
	l.reads(source, name)
	l.loseState(source, func() {
		l.exec(source, "sh", "-ec", fmt.Sprintf("systemctl stop %[1]s; find %[2]s -mindepth 1 "+
			"-delete; cp -a /root/older/. %[2]s/; systemctl start %[1]s", mariadbUnit, datadir))
		l.rows(source, 60)
	})
	l.lineageBroken(name, "another history since (%mariadb-bin.0")
}

func (l *lab) tailLost() {
	source, name := l.followed()
	l.rows(source, 20)
	l.reads(source, name)
	agentAgain := l.noRestart(source, agentDropIn)
	l.exec(source, "systemctl", "kill", "--signal=KILL", agentUnit)
	at := strings.Fields(l.sql(source, "SHOW MASTER STATUS"))
	l.rows(source, 20)
	l.reads(source, name)
	again := l.noRestart(source, "/run/systemd/system/"+mariadbUnit+".d/zz-fault.conf")
	l.exec(source, "systemctl", "kill", "--signal=KILL", mariadbUnit)
	l.degraded(name, "REPLICATION_CONNECTING") // so that what it has read is known
	l.exec(source, "truncate", "--size="+at[1], "/var/lib/mysql/"+at[0])
	again()
	l.exec(source, "systemctl", "reset-failed", mariadbUnit)
	l.exec(source, "systemctl", "start", mariadbUnit)
	l.rows(source, 60)
	agentAgain()
	l.exec(source, "systemctl", "start", agentUnit)
	l.lineageBroken(name, name+" has read")
}
