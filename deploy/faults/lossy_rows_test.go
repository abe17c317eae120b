//go:build lab

package faults

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// lossyRows are about replication that would lose changes in silence.
func lossyRows() []row {
	return []row{
		{
			id: "F2", variant: "RESET MASTER, and the numbers come again", run: (*lab).resetMaster,
			planted: "RESET MASTER on a primary with a READY replica and a snapshot, then more " +
				"transactions than there were",
			happens: "a replica from the snapshot is refused, and the READY one is DEGRADED, " +
				"both naming the other history",
			why: "a position counts with the history of the binary log that it is of",
		},
		{
			id: "F4", variant: "MEMORY table", run: (*lab).memoryTable,
			planted: "a MEMORY table with rows on the primary; the replica's MariaDB restarts, " +
				"and somebody reads the table there first",
			happens: "the replica writes nothing of its own and stays READY",
			why:     "MariaDB opens such tables at its start, without the binary log",
		},
		{
			id: "F5", variant: "filter of the binary log", run: (*lab).lossyLog,
			planted: "binlog_ignore_db in an option file of a primary, then " +
				"binlog_format=STATEMENT; a replica is asked for",
			happens: "refused, naming the setting; nothing is made",
			why:     "the running server says what it logs, and how",
		},
		{
			id: "F7", variant: "set in the running replica", run: (*lab).lossyLater,
			planted: "on a READY replica: replicate_ignore_db, then slave_exec_mode=IDEMPOTENT",
			happens: "DEGRADED, naming the setting; once it is taken back too, until all data " +
				"was compared",
			why: "each observation reads the running server; what was left out stays missing",
		},
		{
			id: "F10", variant: "another time zone", run: (*lab).anotherTimeZone,
			planted: "MariaDB of a READY replica starts with another time zone than its primary's",
			happens: "DEGRADED, naming both; with the primary's again too: a comparison finds " +
				"the row that a statement with NOW() wrote meanwhile, and a rebuild mends it",
			why: "events say SYSTEM, and mean the zone of the host that logged them",
		},
		{
			id: "F7", variant: "an error that is skipped", run: (*lab).skippedError,
			planted: "a READY replica lacks a row that the primary updates (1032); somebody " +
				"sets sql_slave_skip_counter and starts replication",
			happens: "DEGRADED, also once both threads run; a verification of all data names " +
				"the table; READY once the row is there and all data was compared",
			why: "replication that goes on proves nothing about what it went past",
		},
		{
			id: "F7", variant: "a change skipped while the control plane is away",
			run: (*lab).skippedAway,
			planted: "the control plane is stopped; on a READY replica somebody goes past one " +
				"change, with sql_slave_skip_counter, then by gtid_slave_pos, and starts " +
				"replication",
			happens: "once the control plane is back: DEGRADED, naming what was done; a " +
				"verification of all data names the table; READY once the row is right and all " +
				"data was compared",
			why: "the agent notes what MariaDB logs, and keeps it until it is told",
		},
		{
			id: "F7", variant: "a second primary", run: (*lab).secondPrimary,
			planted: "a named connection on a READY replica applies the changes of another server",
			happens: "DEGRADED, naming the connection",
			why:     "what a second primary changes is on no other server",
		},
		{
			id: "F7", variant: "transactions that bear its server_id", run: (*lab).ownServerID,
			planted: "a session on the primary of a READY replica sets the replica's server_id, " +
				"as mariadb-binlog does that replays a binary log, and changes a row",
			happens: "DEGRADED, SERVER_ID_TAKEN; a verification of all data names the " +
				"table; the replica that takes its place is whole, under another server_id",
			why: "a replica takes what bears its server_id for its own, and leaves it out " +
				"without an error, its position past it",
		},
		{
			id: "F10", variant: "PASSWORD() means another text", run: (*lab).anotherMeaning,
			planted: "old_passwords on the primary of a READY replica, and a row with PASSWORD()",
			happens: "DEGRADED, naming the setting; once it is taken back too: a verification of " +
				"all data names the table, and a rebuild mends it",
			why: "the primary logs a statement that means a text by a setting that no event " +
				"carries",
		},
		{
			id: "F10", variant: "the primary may have lost rows", run: (*lab).lostRows,
			planted: "the primary of a READY replica is killed, having written to a MyISAM " +
				"table; and again, having written to InnoDB alone",
			happens: "DEGRADED until all data is verified; READY after the second time",
			why:     "the agent of the primary marks a crash that may have torn tables",
		},
		{
			id: "F3", variant: "a schema that is called almost like one of MariaDB's",
			run: (*lab).almostBuiltin,
			planted: "schemas Sys and MySQL with MyISAM tables; then a READY replica loses a " +
				"row of one",
			happens: "a snapshot without a lock is refused, naming the tables; a verification " +
				"names the table, and the replica is DEGRADED",
			why: "names of schemas are compared as they are written",
		},
	}
}

func (l *lab) resetMaster() {
	source := l.unwritten("--image", "trixie")
	l.writes(source)
	snap := l.snapped(source)
	name := l.name()
	l.run("replica", "create", name, "--from", snap, "--image", "trixie-masked")
	l.sql(source, "CREATE TABLE mysql.again (id INT)")
	l.sql(source, "RESET MASTER; "+strings.Repeat("INSERT INTO mysql.again VALUES (1); ", 200))
	l.fails(l.detach("replica", "create", l.name(), "--from", snap), "GTID_MISMATCH",
		"another history")
	l.degraded(name, "another history")
}

func (l *lab) memoryTable() {
	name := l.stand()
	table := l.schema() + ".mem"
	l.sql(primary, fmt.Sprintf("CREATE TABLE %[1]s (id INT PRIMARY KEY) ENGINE=MEMORY; "+
		"INSERT INTO %[1]s VALUES (1)", table))
	l.same(name)
	l.exec(name, "systemctl", "restart", mariadbUnit)
	l.eventually(time.Minute, "the table is read", func() bool {
		_, err := l.Exec(l.t.Context(), name, "mariadb", "--execute", "SELECT * FROM "+table)
		return err == nil
	})
	l.sql(primary, fmt.Sprintf("INSERT INTO %s VALUES (2)", table))
	l.whole(name)
	id := l.sql(name, "SELECT @@server_id")
	if state := l.sql(name, "SELECT @@gtid_binlog_state"); strings.Contains(state, "-"+id+"-") {
		l.t.Errorf("the replica wrote of its own: %s", state)
	}
	l.sql(primary, "DROP TABLE "+table)
	l.dropSnap()
}

func (l *lab) lossyLog() {
	source := l.unwritten("--image", "trixie")
	before := len(l.machines())
	for _, setting := range []string{"binlog_ignore_db=app", "binlog_format=STATEMENT"} {
		l.put(source, "/etc/mysql/mariadb.conf.d/70-local.cnf", "[mariadbd]\n"+setting+"\n")
		l.exec(source, "systemctl", "restart", mariadbUnit)
		l.fails(l.detach("replica", "create", l.name(), "--of", source, "--image", "trixie-masked"),
			"MARIADB_SETTING", setting)
		if after := len(l.machines()); after != before {
			l.t.Errorf("%d machines were made with %s", after-before, setting)
		}
		l.degraded(source, setting)
	}
}

// unproved waits until a finding is over, and has left the data of a server unproved: a proof that
// begins earlier does not count.
func (l *lab) unproved(name, code string) {
	l.t.Helper()
	db := l.store()
	defer db.Close()
	const found = "EXISTS (SELECT 1 FROM json_each(doc, '$.Findings') WHERE " +
		"json_extract(value, '$.code') = ?)"
	l.eventually(time.Minute, name+" is unproved, and no more "+code, func() bool {
		return len(l.query(db, "SELECT 1 FROM servers WHERE name = ? AND state = 'DEGRADED' AND "+
			found+" AND NOT "+found, name, "DATA_UNPROVED", code)) == 1
	})
}

func (l *lab) lossyLater() {
	name := l.stand()
	for setting, values := range map[string][2]string{"replicate_ignore_db": {"'app'", "''"},
		"slave_exec_mode": {"'IDEMPOTENT'", "'STRICT'"}} {
		set := "STOP SLAVE; SET GLOBAL " + setting + " = %s; START SLAVE"
		l.sql(name, fmt.Sprintf(set, values[0]))
		l.degraded(name, setting)
		l.sql(name, fmt.Sprintf(set, values[1]))
		l.unproved(name, "LOSSY_SETTINGS")
		l.run("replica", "verify", name, "--level", "full")
		l.whole(name)
	}
}

func (l *lab) anotherTimeZone() {
	table := l.schema() + ".zoned"
	l.sql(primary, "CREATE OR REPLACE TABLE "+table+" (id INT PRIMARY KEY, at DATETIME)")
	name, old := l.madeFor()
	const dropIn = "/run/systemd/system/mariadb.service.d/zone.conf"
	l.exec(name, "mkdir", "-p", filepath.Dir(dropIn))
	l.put(name, dropIn, "[Service]\nEnvironment=TZ=JST-9\n")
	restart := func() {
		l.exec(name, "systemctl", "daemon-reload")
		l.exec(name, "systemctl", "restart", mariadbUnit)
	}
	restart()
	l.degraded(name, "its host's time zone (JST) is not its primary's (UTC)")
	l.sql(primary, "SET binlog_format = STATEMENT; INSERT INTO "+table+" VALUES (1, NOW())")
	l.eventually(time.Minute, name+" has the row", func() bool {
		return l.sql(name, "SELECT COUNT(*) FROM "+table) == "1"
	})
	l.exec(name, "rm", dropIn)
	restart()
	l.degraded(name, "its data is not proved since")
	l.refuse([]string{"DATA_MISMATCH", table}, "replica", "verify", name, "--level", "full")
	l.rebuilds(name, old)
}

// skipOne leaves out one change. Where changes of several domains were applied, MariaDB takes it
// without parallel appliers alone (error 1966).
const skipOne = "SET GLOBAL slave_parallel_threads = 0; SET GLOBAL sql_slave_skip_counter = 1"

func (l *lab) skippedError() {
	table, name := l.table("skipped"), l.stand()
	l.same(name)
	l.sql(name, "SET sql_log_bin = 0; DELETE FROM "+table)
	l.sql(primary, fmt.Sprintf("SET binlog_format = ROW; UPDATE %s SET n = n + 1", table))
	l.degraded(name, "1032")
	l.sql(name, "STOP SLAVE; "+skipOne+"; START SLAVE")
	l.same(name)
	l.unproved(name, "REPLICATION_BROKEN")
	l.refuse([]string{"DATA_MISMATCH", table}, "replica", "verify", name, "--level", "full")
	l.degraded(name, "its data is not proved since")
	rows := l.exec(primary, "mariadb-dump", "--no-create-info", "--skip-triggers", l.schema(),
		"skipped")
	l.sql(name, "SET sql_log_bin = 0; USE "+l.schema()+"; "+rows)
	l.run("replica", "verify", name, "--level", "full")
	l.whole(name)
}

func (l *lab) skippedAway() {
	table, name := l.table("away"), l.stand()
	l.stopWriter() // one of its changes would be skipped
	defer l.startWriter()
	for past, words := range map[string]string{
		skipOne:                                  "skip_counter", // a sample may see it as well
		"SET GLOBAL gtid_slave_pos = 'POSITION'": "its SQL thread had stopped at"} {
		l.same(name)
		l.Stop()
		l.sql(name, "STOP SLAVE")
		l.sql(primary, fmt.Sprintf("UPDATE %s SET n = n + 1", table))
		position := l.sql(primary, "SELECT @@gtid_binlog_pos")
		l.sql(name, strings.ReplaceAll(past, "POSITION", position)+"; START SLAVE")
		l.same(name)
		l.start()
		l.degraded(name, words)
		l.refuse([]string{"DATA_MISMATCH", table}, "replica", "verify", name, "--level", "full")
		l.sql(name, fmt.Sprintf("SET sql_log_bin = 0; UPDATE %s SET n = n + 1", table))
		l.run("replica", "verify", name, "--level", "full")
		l.whole(name)
	}
}

func (l *lab) secondPrimary() {
	name := l.stand()
	l.sql(name, "CHANGE MASTER 'feed' TO MASTER_HOST = '192.0.2.1', MASTER_USER = 'feed'")
	l.degraded(name, "applies the changes of 192.0.2.1:3306 too") // a document escapes its quotes
	l.sql(name, "RESET SLAVE 'feed' ALL")
	l.unproved(name, "LOSSY_SETTINGS")
	l.run("replica", "verify", name, "--level", "full")
	l.whole(name)
}

func (l *lab) ownServerID() {
	table := l.table("own")
	name, _ := l.madeFor()
	id := l.sql(name, "SELECT @@server_id")
	l.sql(primary, fmt.Sprintf("SET SESSION server_id = %s; UPDATE %s SET n = n + 1", id, table))
	l.degraded(name, "bear its own server_id")
	l.refuse([]string{"DATA_MISMATCH", table}, "replica", "verify", name, "--level", "full")
	l.run("server", "delete", name, "--yes")
	l.dropSnap()
	other, _ := l.madeFor()
	l.run("replica", "verify", other, "--level", "full")
	l.whole(other)
	if l.sql(other, "SELECT @@server_id") == id {
		l.t.Errorf("%s has the server_id of the one before: %s", other, id)
	}
	l.run("server", "delete", other, "--yes")
}

func (l *lab) anotherMeaning() {
	table := l.schema() + ".hashed"
	l.sql(primary, "CREATE OR REPLACE TABLE "+table+" (id INT PRIMARY KEY, p VARCHAR(99))")
	l.dropSnap()
	name, old := l.madeFor()
	l.sql(primary, "SET GLOBAL old_passwords = ON")
	l.degraded(name, "old_passwords is OFF instead of its primary's ON")
	l.sql(primary, "INSERT INTO "+table+" VALUES (1, PASSWORD('x'))")
	l.same(name)
	l.sql(primary, "SET GLOBAL old_passwords = OFF")
	l.degraded(name, "its data is not proved since")
	l.refuse([]string{"DATA_MISMATCH", table}, "replica", "verify", name, "--level", "full")
	l.rebuilds(name, old)
	if l.standing != "" { // it is as wrong
		l.sql(primary, "DROP TABLE "+table)
		l.run("replica", "verify", l.standing, "--level", "full")
	}
}

func (l *lab) lostRows() {
	source := l.unwritten("--image", "trixie")
	l.sql(source, "CREATE DATABASE app; CREATE TABLE app.m (id INT PRIMARY KEY) ENGINE=MyISAM; "+
		"CREATE TABLE app.i (id INT PRIMARY KEY)")
	name := l.name()
	l.run("replica", "create", name, "--of", source, "--image", "trixie-masked")
	l.sql(source, "INSERT INTO app.m VALUES (1)")
	l.restarts(source, "systemctl", "kill", "--signal=KILL", mariadbUnit)
	l.degraded(name, "may lack rows that it has")
	l.run("replica", "verify", name, "--level", "full")
	l.ready(name)
	l.sql(source, "INSERT INTO app.i VALUES (1)")
	l.restarts(source, "systemctl", "kill", "--signal=KILL", mariadbUnit)
	l.eventually(time.Minute, name+" has the last row", func() bool {
		rows, _ := l.SQL(l.t.Context(), name, "SELECT COUNT(*) FROM app.i")
		return rows == "1"
	})
	l.ready(name)
	l.run("server", "delete", name, "--yes")
}

func (l *lab) almostBuiltin() {
	source := l.unwritten("--image", "trixie")
	l.sql(source, "CREATE DATABASE Sys; CREATE TABLE Sys.m (id INT PRIMARY KEY) ENGINE=MyISAM; "+
		"CREATE DATABASE MySQL; CREATE TABLE MySQL.m ENGINE=MyISAM SELECT 1 AS id; "+
		"INSERT INTO Sys.m VALUES (7)")
	l.fails(l.detach("snapshot", "create", source, "--mode", "crash"),
		"TABLES_NOT_TRANSACTIONAL", "Sys.m", "MySQL.m")
	name := l.name()
	l.run("replica", "create", name, "--of", source, "--image", "trixie-masked")
	l.sql(name, "SET sql_log_bin = 0; DELETE FROM Sys.m")
	l.refuse([]string{"DATA_MISMATCH", "Sys.m"}, "replica", "verify", name, "--level", "full")
	l.degraded(name, "Sys.m")
}
