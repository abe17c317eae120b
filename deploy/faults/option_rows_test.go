//go:build lab

package faults

import (
	"strings"
	"time"
)

// optionRows are about what beats the options that were written, and who reads them.
func optionRows() []row {
	return []row{
		{
			id: "F12", variant: "on the command line before the start", run: (*lab).commandLine,
			planted: "a drop-in of the image: MYSQLD_OPTS=--read-only=0 --gtid-strict-mode=0 " +
				"--event-scheduler=1",
			happens: "refused before the first start, naming the option; once it is gone, the " +
				"retry converges",
			why: "the command line beats option files, and is known before the start",
		},
		{
			id: "F12", variant: "from an environment file", run: (*lab).environmentFile,
			planted: "MYSQLD_OPTS=--sync-binlog=0 --skip-log-slave-updates in an EnvironmentFile " +
				"of the unit",
			happens: "refused after the start, naming the option and the command line; once " +
				"it is gone, the retry restarts MariaDB and converges",
			why: "what counts is what the running server and its process say",
		},
		{
			id: "F12", variant: "on the command line of a READY replica",
			run: (*lab).commandLineLater,
			planted: "a drop-in with its own ExecStart, --read-only=0 in it, on a READY replica; " +
				"then MariaDB restarts",
			happens: "DEGRADED, naming the option and the command line; READY again once it is " +
				"gone",
			why: "each observation compares",
		},
		{
			id: "F13", variant: "root gets a password", run: (*lab).passwordForRoot, alone: true,
			planted: "root@localhost of the running primary gets a password in place of the " +
				"socket; a snapshot is asked for; then root is as before",
			happens: "refused at once, with the statement that helps; succeeds afterwards",
			why:     "no wait heals 1045",
		},
		{
			id: "V1", variant: "another MariaDB on the host", run: (*lab).otherInstance,
			planted: "Debian's mariadb@other beside a READY replica, with a datadir and a port " +
				"of its own; both restart, the other one first",
			happens: "it runs under its own settings; the replica comes back by itself",
			why: "the option group is read by the unit that asks for it; the command line of " +
				"the user's stays as it is",
		},
	}
}

const localDropIn = unitFolder + "local.conf"

func (l *lab) unitLine(host, line string) {
	l.t.Helper()
	l.put(host, localDropIn, "[Service]\n"+line+"\n")
	l.exec(host, "systemctl", "daemon-reload")
}

func (l *lab) noUnitLine(host string) {
	l.t.Helper()
	l.exec(host, "rm", localDropIn)
	l.exec(host, "systemctl", "daemon-reload")
}

func (l *lab) commandLine() {
	m := l.makeUntil("before_effect:configure_mariadb")
	l.unitLine(m.name, `Environment="MYSQLD_OPTS=--read-only=0 --gtid-strict-mode=0 `+
		`--event-scheduler=1"`)
	l.refused(m, "MARIADB_SETTING", m.name, "event_scheduler is 1 instead of OFF")
	if n := l.starts(m.name); n != 0 {
		l.t.Errorf("MariaDB was started %d times", n)
	}
	l.noUnitLine(m.name)
	l.run("job", "retry", m.job)
	l.same(m.name)
}

func (l *lab) environmentFile() {
	m := l.makeUntil("before_effect:start_mariadb")
	l.put(m.name, "/etc/mariadb-local", "MYSQLD_OPTS=--sync-binlog=0 --skip-log-slave-updates\n")
	l.unitLine(m.name, "EnvironmentFile=/etc/mariadb-local")
	l.refused(m, "MARIADB_SETTING", m.name,
		"sync_binlog is 0 instead of 1 (command line of mariadbd: --sync-binlog=0)",
		"log_slave_updates is OFF instead of ON")
	l.noUnitLine(m.name)
	l.run("job", "retry", m.job)
	l.same(m.name)
	if got := l.sql(m.name, "SELECT @@sync_binlog, @@log_slave_updates"); got != "1\t1" {
		l.t.Errorf("sync_binlog and log_slave_updates are %q", got)
	}
}

func (l *lab) commandLineLater() {
	name := l.stand()
	l.unitLine(name, "ExecStart=\nExecStart=/usr/sbin/mariadbd --read-only=0 $MYSQLD_OPTS")
	l.exec(name, "systemctl", "restart", mariadbUnit)
	l.eventually(time.Minute, name+" is DEGRADED and says why", func() bool {
		said, err := l.try("server", "get", name)
		said = strings.Join(strings.Fields(said), " ")
		return err == nil && strings.Contains(said, "DEGRADED") && strings.Contains(said,
			"read_only is 0 instead of ON (command line of mariadbd: --read-only=0)")
	})
	l.noUnitLine(name)
	l.exec(name, "systemctl", "restart", mariadbUnit)
	l.whole(name)
}

func (l *lab) otherInstance() {
	name := l.stand()
	l.unitLine(name, `Environment="MYSQLD_OPTS=--max-connections=77"`)
	l.put(name, "/etc/mysql/mariadb.conf.d/70-other.cnf", "[mariadbd.other]\n"+
		"datadir=/var/lib/mysql-other\nsocket=/run/mysqld/other.sock\nport=3307\n"+
		"pid_file=/run/mysqld/other.pid\n")
	l.exec(name, "install", "--directory", "--owner=mysql", "--group=mysql",
		"/var/lib/mysql-other")
	l.exec(name, "systemctl", "restart", "mariadb@other.service")
	l.exec(name, "systemctl", "restart", mariadbUnit)
	l.whole(name)
	if got := l.exec(name, "mariadb", "--socket=/run/mysqld/other.sock", "--batch",
		"--skip-column-names", "--execute",
		"SELECT @@port, @@server_id, @@read_only, @@log_bin"); got != "3307\t1\t0\t0" {
		l.t.Errorf("port, server_id, read_only and log_bin of the other one are %q", got)
	}
	if got := l.sql(name, "SELECT @@max_connections"); got != "77" {
		l.t.Errorf("max_connections of the user's own MYSQLD_OPTS is %s", got)
	}
	l.exec(name, "systemctl", "stop", "mariadb@other.service")
	l.exec(name, "rm", "/etc/mysql/mariadb.conf.d/70-other.cnf")
	l.noUnitLine(name)
	l.exec(name, "systemctl", "restart", mariadbUnit)
	l.whole(name)
}

// passwordForRoot runs statements of another root, since root itself is locked out.
func (l *lab) passwordForRoot() {
	const boss = "boss@localhost"
	l.sql(primary, "CREATE USER "+boss+" IDENTIFIED VIA unix_socket AS 'root'; "+
		"GRANT ALL ON *.* TO "+boss+" WITH GRANT OPTION; ALTER USER root@localhost IDENTIFIED VIA "+
		"mysql_native_password USING PASSWORD('S#1')")
	began := time.Now()
	job := l.detach("snapshot", "create", primary)
	l.fails(job, "MARIADB_ACCESS_DENIED", "root@localhost")
	if took := time.Since(began); took > time.Minute {
		l.t.Errorf("it was waited for %s", took)
	}
	l.exec(primary, "mariadb", "--user=boss", "--execute", "ALTER USER root@localhost IDENTIFIED "+
		"VIA unix_socket; DROP USER "+boss)
	l.run("snapshot", "create", primary)
}
