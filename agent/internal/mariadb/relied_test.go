package mariadb

import (
	"slices"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

const ownFile = "/etc/mysql/mariadb.conf.d/zz-understudy.cnf"

// asWritten is a server that runs with exactly these options.
func asWritten(ours []Option) Running {
	running := Running{Variables: map[string]Variable{
		"skip_networking":       {"OFF", "COMPILE-TIME", ""},
		"innodb_force_recovery": {"0", "COMPILE-TIME", ""},
	}, Args: []string{"--basedir=/usr"}, Suffix: groupSuffix}
	for name, value := range effective(ours) {
		if name != "skip_slave_start" && name != "silent_startup" { // no variables of MariaDB's
			running.Variables[name] = Variable{value, "CONFIG", ownFile}
		}
	}
	running.Variables["log_bin"] = Variable{"ON", "COMPILE-TIME", ""}
	running.Variables["log_bin_basename"] = Variable{"/var/lib/mysql/mariadb-bin", "AUTO", ""}
	running.Variables["log_bin_index"] = Variable{"/var/lib/mysql/mariadb-bin.index",
		"COMPILE-TIME", ""}
	return running
}

func replicaOptions() []Option {
	return Settings{ServerID: 7, ReadOnly: true, LogBin: "mariadb-bin", LogSlaveUpdates: true,
		Strict: true, Bind: "0.0.0.0", Durable: true, ReportHost: "db2",
		Extra:    map[string]string{"innodb_buffer_pool_size": "1G", "max_connections": "50"},
		Contract: &consistentpoint.Contract{Options: map[string]string{ignoredDirs: ""}},
	}.options(TLSFiles{}, "")
}

func TestWhatRunsIsCompared(t *testing.T) {
	t.Parallel()
	args := func(args ...string) func(*Running) {
		return func(r *Running) { r.Args = append(r.Args, args...) }
	}
	written := func(all ...string) func(*Running) {
		return func(r *Running) { r.Written = all }
	}
	variable := func(name, value, origin, file string) func(*Running) {
		return func(r *Running) { r.Variables[name] = Variable{value, origin, file} }
	}
	for name, test := range map[string]struct {
		plant func(*Running)
		want  []string
	}{
		"as written":   {func(*Running) {}, nil},
		"same on both": {args("--gtid-strict-mode", "--read_only=TRUE", "--server-id=7"), nil},
		"a flag's argument": {args("--read-only=0"), []string{"read_only is 0 instead of ON " +
			"(command line of mariadbd: --read-only=0)"}},
		"skip": {args("--skip-log-slave-updates"), []string{"log_slave_updates is OFF instead " +
			"of ON (command line of mariadbd: --skip-log-slave-updates)"}},
		"beginning of a name": {args("--gtid-strict=off"), []string{"gtid_strict_mode is off " +
			"instead of ON (command line of mariadbd: --gtid-strict=off)"}},
		"alias": {args("--log-replica-updates=0"), []string{"log_slave_updates is 0 instead " +
			"of ON (command line of mariadbd: --log-replica-updates=0)"}},
		"loose, no variable": {args("--loose-skip-slave-start"), []string{"skip_slave_start " +
			"is ON instead of OFF (command line of mariadbd: --loose-skip-slave-start)"}},
		"no variable, in a file": {written("--silent-startup"), []string{"silent_startup is ON " +
			"instead of OFF (option files: --silent-startup)"}},
		"no variable, the beginning of its name": {written("--silent-startup=0",
			"--silent-start=1"), []string{"silent_startup is 1 instead of OFF (option files: " +
			"--silent-start=1)"}},
		"no variable, taken back": {written("--silent-startup", "--skip-silent-startup",
			"--skip-slave-start=0"), nil},
		"no variable, on the command line": {args("--silent-startup"), []string{"silent_startup " +
			"is ON instead of OFF (command line of mariadbd: --silent-startup)"}},
		"no variable, in both": {func(r *Running) {
			args("--silent-startup=0")(r)
			written("--silent-startup")(r)
		}, nil},
		"MariaDB's own directory": {variable(ignoredDirs, "#binlog_cache_files", "CONFIG",
			ownFile), nil},
		"a directory that hides a schema": {variable(ignoredDirs, "app,#binlog_cache_files",
			"COMPILE-TIME", ""), []string{"ignore_db_dirs is app,#binlog_cache_files instead of  " +
			"(not set by " + ownFile + ")"}},
		"the last one counts": {args("--read-only=0", "--read-only=1"), nil},
		"not in the file": {args("--skip-networking"), []string{"skip_networking is ON " +
			"instead of OFF (command line of mariadbd: --skip-networking)"}},
		"binary log off": {args("--skip-log-bin"), []string{"log_bin is OFF instead of " +
			"mariadb-bin (command line of mariadbd: --skip-log-bin)"}},
		"size": {args("--innodb-buffer-pool-size=1073741824"), nil},
		"other size": {args("--innodb-buffer-pool-size=2G"), []string{"innodb_buffer_pool_size " +
			"is 2G instead of 1G (command line of mariadbd: --innodb-buffer-pool-size=2G)"}},
		"another option":       {args("--log-error=/x", "--ssl", "-u", "mysql"), nil},
		"rounded by MariaDB":   {variable("max_connections", "49", "AUTO", ""), nil},
		"tuned at run time":    {variable("max_connections", "900", "SQL", ""), nil},
		"read_only by a job":   {variable("read_only", "OFF", "SQL", ""), nil},
		"expiry as it is kept": {variable(expireOption, "9", "SQL", ""), nil},
		"set at run time": {variable("sync_binlog", "0", "SQL", ""), []string{"sync_binlog is 0 " +
			"instead of 1 (SET GLOBAL since the start)"}},
		"another file": {variable("sync_binlog", "0", "CONFIG", "/etc/mysql/zzz.cnf"),
			[]string{"sync_binlog is 0 instead of 1 (option file /etc/mysql/zzz.cnf)"}},
		"another file tunes": {variable("max_connections", "9", "CONFIG", "/etc/mysql/zzz.cnf"),
			[]string{"max_connections is 9 instead of 50 (option file /etc/mysql/zzz.cnf)"}},
		"another name of the binary log": {variable("log_bin_basename", "/var/lib/mysql/x", "", ""),
			[]string{"log_bin is x instead of mariadb-bin (not set by " + ownFile + ")"}},
		"not restarted": {variable("server_id", "8", "CONFIG", ownFile), []string{"server_id is " +
			"8 instead of 7 (not restarted since " + ownFile + " changed)"}},
		"file not read": {func(r *Running) {
			r.Suffix = ""
			r.Variables["server_id"] = Variable{"1", "COMPILE-TIME", ""}
		}, []string{"server_id is 1 instead of 7 (" + ownFile + " is not read: " +
			`MYSQL_GROUP_SUFFIX of the process is "" instead of ".understudy")`}},
		"other files": {func(r *Running) {
			r.Args = []string{"--defaults-file=/x"}
			r.Variables["server_id"] = Variable{"1", "COMPILE-TIME", ""}
		}, []string{"server_id is 1 instead of 7 (" + ownFile + " is not read: command line of " +
			"mariadbd: --defaults-file=/x)"}},
	} {
		running := asWritten(replicaOptions())
		test.plant(&running)
		var got []string
		for _, m := range Mismatches(replicaOptions(), ownFile, running) {
			got = append(got, m.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if got := Mismatches(nil, ownFile, Running{}); got != nil {
		t.Errorf("a server without the file is compared: %v", got)
	}
}

func TestWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	for number, passes := range map[uint16]bool{1040: true, 1203: true, 1226: true, 1045: false,
		1698: false, 4151: false, 1227: false} {
		err := down("cannot x", &mysql.MySQLError{Number: number, Message: "m"})
		if got := errs.KindOf(err) == errs.Unavailable; got != passes {
			t.Errorf("%d: %v", number, err)
		}
	}
}
