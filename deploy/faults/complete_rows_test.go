//go:build lab

package faults

import (
	"strings"
)

// completeRows are about copies that would lack something of their source.
func completeRows() []row {
	return []row{
		{
			id: "F1", variant: "redo log on another disk", run: (*lab).redoElsewhere,
			planted: "innodb_log_group_home_dir of the primary on its root disk; the old " +
				"ib_logfile0 lies in the datadir still; the same with Aria's log",
			happens: "refused by check_primary with FILES_ELSEWHERE, naming the variable; " +
				"nothing is made",
			why: "open files and variables of the running server tell where its files are",
		},
		{
			id: "F8", variant: "table and database on another disk", run: (*lab).tablesElsewhere,
			planted: "an InnoDB table with DATA DIRECTORY on the root disk, and a database " +
				"behind a link; MariaDB restarts and has neither open",
			happens: "refused with FILES_ELSEWHERE, naming both links, also in the dry run",
			why:     "the links are in the datadir when the server does not know the files",
		},
		{
			id: "F3", variant: "kinds of tables without a lock", run: (*lab).tornKinds,
			planted: "a snapshot without a lock of a primary with a versioned MyISAM table, " +
				"and of one with a MyISAM sequence",
			happens: "refused with TABLES_NOT_TRANSACTIONAL, naming the table",
			why:     "one list of tables has every kind that has rows",
		},
		{
			id: "F10", variant: "encryption keys", run: (*lab).keysStayBehind,
			planted: "an encrypted table on the primary; its key file is on the root disk",
			happens: "refused before the first start with HOST_UNFIT, naming the option; with " +
				"other keys too; with the keys of the source the retry converges",
			why: "the consistent point knows what a host needs to read the datadir",
		},
		{
			id: "F10", variant: "options and plugins of the datadir", run: (*lab).contractCarried,
			planted: "the primary has a second file of the system tablespace, an engine that an " +
				"option loads, and a table of it; the image has neither option",
			happens: "converges with equal data",
			why:     "the agent's option file of the copy has the options of its datadir",
		},
	}
}

const plantedOptions = "/etc/mysql/mariadb.conf.d/70-local.cnf"

// with restarts MariaDB with other options, after what else is to be done while it is stopped, and
// waits until that was seen: a server that is DEGRADED is refused for that.
func (l *lab) with(host, options string, stopped ...string) {
	l.t.Helper()
	l.exec(host, "systemctl", "stop", mariadbUnit)
	l.degraded(host, "")
	for _, line := range stopped {
		l.exec(host, "sh", "-ec", line)
	}
	l.put(host, plantedOptions, "[mariadbd]\n"+options+"\n")
	l.exec(host, "systemctl", "start", mariadbUnit)
	l.ready(host)
}

// elsewhere asks for a snapshot, which check_primary has to refuse, and for a plan of it.
func (l *lab) elsewhere(source string, words ...string) {
	l.t.Helper()
	before := len(l.snapshots())
	j := l.fails(l.detach("snapshot", "create", source), "FILES_ELSEWHERE", words...)
	if s := stepOf(j, "reserve_binlogs"); s.GetAttempts() != 0 {
		l.t.Errorf("reserve_binlogs ran: %v", s)
	}
	if after := len(l.snapshots()); after != before {
		l.t.Errorf("%d snapshots were made", after-before)
	}
	l.refuse(append([]string{"FILES_ELSEWHERE"}, words...), "snapshot", "create", source,
		"--dry-run")
}

func (l *lab) redoElsewhere() {
	source := l.unwritten("--image", "trixie")
	l.with(source, "innodb_log_group_home_dir=/var/lib/redo",
		"install -d -o mysql -g mysql /var/lib/redo /var/lib/aria",
		"cp -a /var/lib/mysql/ib_logfile0 /var/lib/redo/",
		"cp -a /var/lib/mysql/aria_log* /var/lib/aria/")
	l.elsewhere(source, "innodb_log_group_home_dir", "/var/lib/redo")
	l.with(source, "aria_log_dir_path=/var/lib/aria",
		"mv /var/lib/redo/ib_logfile0 /var/lib/mysql/")
	l.elsewhere(source, "aria_log_dir_path", "/var/lib/aria")
}

func (l *lab) tablesElsewhere() {
	source := l.unwritten("--image", "trixie")
	l.exec(source, "install", "-d", "-o", "mysql", "-g", "mysql", "/var/lib/far", "/var/lib/dd")
	l.sql(source, "CREATE DATABASE app; CREATE TABLE app.dd (id INT PRIMARY KEY) "+
		"DATA DIRECTORY = '/var/lib/dd'")
	l.with(source, "", "ln -s /var/lib/far /var/lib/mysql/far")
	l.elsewhere(source, "link app/dd.isl", "link far")
}

func (l *lab) tornKinds() {
	source := l.unwritten("--image", "trixie")
	for table, create := range map[string]string{
		"app.v": "CREATE TABLE app.v (id INT) ENGINE=MyISAM WITH SYSTEM VERSIONING",
		"app.s": "CREATE SEQUENCE app.s ENGINE=MyISAM"} {
		l.sql(source, "CREATE OR REPLACE DATABASE app; "+create)
		l.fails(l.detach("snapshot", "create", source, "--mode", "crash"),
			"TABLES_NOT_TRANSACTIONAL", table)
	}
}

const keyFile = "/etc/mysql/encryption/keys"

// keys puts a file of keys on a host.
func (l *lab) keys(host, digit string) {
	l.t.Helper()
	l.put(host, keyFile, "1;"+strings.Repeat(digit, 32)+"\n")
	l.exec(host, "chown", "-R", "mysql:", "/etc/mysql/encryption")
}

func (l *lab) keysStayBehind() {
	const options = "plugin_load_add=file_key_management\nfile_key_management_filename=" + keyFile
	source := l.unwritten("--image", "trixie")
	l.keys(source, "a")
	l.with(source, options)
	l.sql(source, "CREATE DATABASE app; CREATE TABLE app.sec (id INT PRIMARY KEY) ENCRYPTED=YES; "+
		"INSERT INTO app.sec VALUES (7)")
	m := l.makeOf(source, "before_effect:mount_data")
	l.refused(m, "HOST_UNFIT", "plugin_load_add=file_key_management")
	l.put(m.name, plantedOptions, "[mariadbd]\n"+options+"\n")
	l.keys(m.name, "b")
	l.refuse([]string{"HOST_UNFIT", "is another file"}, "job", "retry", m.job)
	if n := l.starts(m.name); n != 0 {
		l.t.Errorf("MariaDB was started %d times", n)
	}
	l.keys(m.name, "a")
	l.run("job", "retry", m.job)
	if got := l.sql(m.name, "SELECT id FROM app.sec"); got != "7" {
		l.t.Errorf("the encrypted table has %q", got)
	}
}

func (l *lab) contractCarried() {
	source := l.unwritten("--image", "trixie")
	l.with(source, "innodb_data_file_path=ibdata1:12M;ibdata2:12M:autoextend\n"+
		"plugin_load_add=ha_archive")
	l.sql(source, "CREATE DATABASE app; CREATE TABLE app.a (id INT) ENGINE=ARCHIVE; "+
		"INSERT INTO app.a VALUES (7)")
	name := l.name()
	l.run("replica", "create", name, "--of", source, "--image", "trixie-masked", "--verify", "full")
	if got := l.sql(name, "SELECT id, @@innodb_data_file_path FROM app.a"); got !=
		"7\tibdata1:12M;ibdata2:12M:autoextend" {
		l.t.Errorf("the copy has %q", got)
	}
}
