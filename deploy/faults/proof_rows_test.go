//go:build lab

package faults

import (
	"fmt"
	"time"
)

// proofRows are about what proves a replica to be a copy, when it is made and ever after.
func proofRows() []row {
	return []row{
		{
			id: "F8", variant: "a table without its file", run: (*lab).fileMissing,
			planted: "the file of a table is taken away on a READY replica while MariaDB is " +
				"stopped; then it is verified by position",
			happens: "the verification names the table and MariaDB's error, and the replica is " +
				"DEGRADED until one finds it equal; both threads go on running",
			why: "the inventory opens every table, whatever the level",
		},
		{
			id: "F8", variant: "objects that were lost", run: (*lab).objectsLost,
			planted: "a trigger and a grant are taken away on a READY replica, and a view is " +
				"made there; then it is verified by position",
			happens: "the verification names all three",
			why:     "the inventory compares every definition on both sides",
		},
		{
			id: "F9", variant: "a row that differs on a READY replica", run: (*lab).rowDiffers,
			planted: "one row of a replica is changed without its binary log, while the " +
				"primary is written to; the control plane restarts with a round every second",
			happens: "DEGRADED within a round, naming the table; READY once the row is as on " +
				"the primary; nothing was written, and replication never stopped",
			why: "continuous verification compares all chunks again and again",
		},
	}
}

func (l *lab) fileMissing() {
	table, name := l.table("fileless"), l.stand()
	l.same(name)
	l.exec(name, "systemctl", "stop", mariadbUnit)
	l.exec(name, "sh", "-c", "mv /var/lib/mysql/*/fileless.ibd /root/")
	l.exec(name, "systemctl", "start", mariadbUnit)
	l.whole(name)
	l.refuse([]string{"DATA_MISMATCH", table, "cannot be opened"}, "replica", "verify", name)
	l.degraded(name, "its data is not proved since")
	l.exec(name, "systemctl", "stop", mariadbUnit)
	l.exec(name, "sh", "-c", "mv /root/fileless.ibd $(dirname /var/lib/mysql/*/fileless.frm)/")
	l.exec(name, "systemctl", "start", mariadbUnit)
	l.eventually(2*time.Minute, name+" is as it was", func() bool {
		_, err := l.try("replica", "verify", name)
		return err == nil
	})
	l.whole(name)
}

func (l *lab) objectsLost() {
	table, name := l.table("watched"), l.stand()
	l.sql(primary, fmt.Sprintf("CREATE TRIGGER %s.tr BEFORE INSERT ON %s FOR EACH ROW "+
		"SET NEW.n = 1; CREATE USER lost@localhost; GRANT SELECT ON %s TO lost@localhost",
		l.schema(), table, table))
	l.run("replica", "verify", name)
	l.sql(name, fmt.Sprintf("SET sql_log_bin = 0; DROP TRIGGER %s.tr; "+
		"REVOKE SELECT ON %s FROM lost@localhost; CREATE VIEW %s.extra AS SELECT 1",
		l.schema(), table, l.schema()))
	l.refuse([]string{"DATA_MISMATCH", "trigger " + l.schema() + ".tr (on the primary alone)",
		"grants lost@localhost (defined in another way)", "view " + l.schema() +
			".extra (on the replica alone)"}, "replica", "verify", name)
	l.sql(name, fmt.Sprintf("SET sql_log_bin = 0; DROP VIEW %s.extra; "+
		"CREATE TRIGGER %s.tr BEFORE INSERT ON %s FOR EACH ROW SET NEW.n = 1; "+
		"GRANT SELECT ON %s TO lost@localhost", l.schema(), l.schema(), table, table))
	l.run("replica", "verify", name)
}

func (l *lab) rowDiffers() {
	table, name := l.table("drifts"), l.stand()
	l.same(name)
	l.Stop()
	l.start("UNDERSTUDY_VERIFY_INTERVAL=1s", "UNDERSTUDY_VERIFY_SHARE=50",
		"UNDERSTUDY_VERIFY_MAX_THREADS=0")
	db := l.store()
	defer db.Close()
	state := func(state string) bool {
		return len(l.query(db, "SELECT 1 FROM servers WHERE name = ? AND state = ?", name,
			state)) == 1
	}
	l.whole(name)
	l.sql(name, fmt.Sprintf("SET sql_log_bin = 0; UPDATE %s SET n = n + 5", table))
	l.degraded(name, "table "+table+" (rows after")
	l.sql(name, fmt.Sprintf("SET sql_log_bin = 0; UPDATE %s SET n = n - 5", table))
	l.eventually(2*time.Minute, name+" is READY again", func() bool { return state("READY") })
	l.whole(name)
	l.Stop()
	l.start()
}
