//go:build lab

package faults

import "fmt"

func replicationRows() []row {
	return []row{
		{
			id: "H18", variant: "configure_replica alone",
			run: (*lab).configureStopped,
			planted: "MariaDB is stopped on a finished replica, and configure_replica alone is " +
				"retried",
			happens: "converges: MariaDB is started first, and answers before a statement goes " +
				"to it",
			why: "the step relies on no earlier step's work that it does not see itself",
		},
		{
			id: "H17", variant: "restarted between two steps", run: (*lab).restartedBetween,
			planted: "something restarts MariaDB between start_mariadb and prepare_replica; the " +
				"snapshot has an event that is enabled",
			happens: "converges; no event of the copy's own",
			why:     "the drop-in keeps the event scheduler and replication off at each start",
		},
		{
			id: "R1", variant: "row written on the copy", run: (*lab).copyWrote,
			planted: "one transaction is written on the copy between its first start and its " +
				"configuration",
			happens: "refuses with GTID_ERRANT; replication is never configured",
			why:     "the recovered position has to equal that of the snapshot's consistent point",
		},
		{
			id: "R6", variant: "duplicate key", quick: true, run: (*lab).duplicateKey,
			planted: "the copy has a row that the primary inserts later (1062)",
			happens: "refuses with MariaDB's own error",
			why:     "a broken SQL thread is an answer, not a reason to wait",
		},
		{
			id: "R6", variant: "missing row", run: (*lab).missingRow,
			planted: "the copy lacks a row that the primary updates later (1032)",
			happens: "refuses with MariaDB's own error",
			why:     "the same",
		},
		{
			id: "R7", variant: "SQL thread stopped", run: (*lab).threadStopped,
			planted: "somebody stops the SQL thread between start_replica and catch_up",
			happens: "started again; converges",
			why:     "catch_up sees to the threads before and while it waits",
		},
		{
			id: "R10", variant: "replica and its primary", quick: true, run: (*lab).autoPurge,
			planted: "binlog auto purge is turned on on a replica, and on a primary that has one",
			happens: "both are refused with AUTO_PURGE_CONFLICT",
			why:     "replication and auto purge exclude each other",
		},
	}
}

func (l *lab) configureStopped() {
	name := l.stand()
	l.exec(name, "systemctl", "stop", mariadbUnit)
	l.again("configure_replica")
	l.again("start_replica")
	l.whole(name)
}

func (l *lab) restartedBetween() {
	event := l.schema() + ".tick"
	l.sql(primary, fmt.Sprintf("CREATE TABLE %[1]ss (at DATETIME); CREATE EVENT %[1]s ON "+
		"SCHEDULE EVERY 1 SECOND DO INSERT INTO %[1]ss VALUES (NOW())", event))
	l.dropSnap()
	m := l.makeUntil("before_effect:upgrade_mariadb")
	l.exec(m.name, "systemctl", "restart", mariadbUnit)
	l.goesOn(m)
	if n := l.sql(m.name, fmt.Sprintf("SELECT COUNT(*) FROM %ss", event)); n != "0" {
		l.t.Errorf("the event ran %s times on the copy", n)
	}
	l.sql(primary, fmt.Sprintf("DROP EVENT %[1]s; DROP TABLE %[1]ss", event))
	l.dropSnap()
}

func (l *lab) copyWrote() {
	m := l.makeUntil("before_effect:upgrade_mariadb")
	l.sql(m.name, fmt.Sprintf("INSERT INTO %s.probe VALUES (-1, NOW(6))", l.schema()))
	l.refused(m, "GTID_ERRANT")
	if status := l.sql(m.name, "SHOW REPLICA STATUS"); status != "" {
		l.t.Errorf("replication was configured: %s", status)
	}
}

// table makes a table on the primary with one row, which the next snapshot has.
func (l *lab) table(name string) string {
	l.t.Helper()
	full := l.schema() + "." + name
	l.sql(primary, fmt.Sprintf("CREATE OR REPLACE TABLE %[1]s (id INT PRIMARY KEY, n INT); "+
		"INSERT INTO %[1]s VALUES (1, 1)", full))
	l.dropSnap()
	return full
}

func (l *lab) duplicateKey() {
	table := l.table("twice")
	m := l.makeUntil("before_effect:start_replica")
	l.sql(m.name, fmt.Sprintf("SET sql_log_bin = 0; INSERT INTO %s VALUES (2, 2)", table))
	l.sql(primary, fmt.Sprintf("INSERT INTO %s VALUES (2, 2)", table))
	l.refused(m, "REPLICATION_ERROR", "1062")
}

func (l *lab) missingRow() {
	table := l.table("missing")
	m := l.makeUntil("before_effect:start_replica")
	l.sql(m.name, fmt.Sprintf("SET sql_log_bin = 0; DELETE FROM %s", table))
	l.sql(primary, fmt.Sprintf("SET binlog_format = ROW; UPDATE %s SET n = 2", table))
	l.refused(m, "REPLICATION_ERROR", "1032")
}

func (l *lab) threadStopped() {
	m := l.makeUntil("before_effect:catch_up")
	l.sql(m.name, "STOP REPLICA SQL_THREAD")
	l.goesOn(m)
}

func (l *lab) autoPurge() {
	for _, name := range []string{l.stand(), primary} {
		l.refuse([]string{"AUTO_PURGE_CONFLICT"}, "server", "update", name,
			"--binlog-auto-purge=true")
	}
}
