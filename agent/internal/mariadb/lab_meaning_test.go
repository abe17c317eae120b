//go:build lab

package mariadb_test

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// TestWhatAStatementMeans has a replica with another value of a setting, and a statement that MIXED
// logs as it is: the rows differ, and nothing says so. Such a setting is compared.
func TestWhatAStatementMeans(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		for _, test := range []struct{ setting, value, expression string }{
			{"old_passwords", "ON", "PASSWORD('x')"},
			{"block_encryption_mode", "'aes-256-cbc'",
				"HEX(AES_ENCRYPT('x', REPEAT('k', 32), REPEAT('i', 16)))"},
			{"default_regex_flags", "'DOTALL'", "'a\\n' RLIKE 'a.'"},
		} {
			if test.setting == "block_encryption_mode" && primary.Value("SELECT COUNT(*) FROM "+
				"information_schema.system_variables WHERE variable_name = '"+test.setting+
				"'") == "0" {
				continue // 10.11 has none
			}
			inSession(t, primary, fmt.Sprintf("SET timestamp = 1000000000, binlog_format = MIXED, "+
				"%s = %s", test.setting, test.value),
				"INSERT INTO shop.t (b) VALUES ("+test.expression+")")
			applied(t, primary, replica)
			const last = "SELECT b FROM shop.t ORDER BY id DESC LIMIT 1"
			its, wanted := replica.Value(last), primary.Value(last)
			if its == wanted {
				t.Errorf("%s: %s is %q on both", test.setting, test.expression, its)
			}
			if !slices.Contains(consistentpoint.RowSettings(), test.setting) {
				t.Errorf("%s is compared nowhere: %s is %q, and %q on the primary", test.setting,
					test.expression, its, wanted)
			}
		}
	})
}

// TestSysdateOfAnotherServer has an option that no variable tells: a statement that fills a new
// column means its own time by SYSDATE(), and on a replica without the option the replica's.
func TestSysdateOfAnotherServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		primary.Stop()
		primary.Args = []string{"--sysdate-is-now"}
		primary.Run()
		replica.Exec("STOP SLAVE", "START SLAVE")
		inSession(t, primary, "SET timestamp = 1000000000, binlog_format = ROW",
			"ALTER TABLE shop.t ADD COLUMN at DATETIME DEFAULT SYSDATE()")
		applied(t, primary, replica)
		const last = "SELECT at FROM shop.t LIMIT 1"
		if its, wanted := replica.Value(last), primary.Value(last); its == wanted {
			t.Errorf("SYSDATE() is %q on both", its)
		}
		for server, want := range map[*mariadbtest.Instance]string{primary: "ON", replica: "OFF"} {
			if is := status(t, server).Settings[consistentpoint.SysdateIsNow]; is != want {
				t.Errorf("it is told as %q, not %s", is, want)
			}
		}
	})
}

// TestAReplicaLeavesOutItsOwnServerID: what bears its server_id it takes for its own, which has
// come back to it. Its position moves on, and no thread has an error.
func TestAReplicaLeavesOutItsOwnServerID(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		id := replica.Value("SELECT @@server_id")
		// As mariadb-binlog does that replays the binary log of that replica.
		inSession(t, primary, "SET SESSION server_id = "+id,
			"INSERT INTO shop.t (b) VALUES ('theirs')", "SET SESSION server_id = 1",
			"INSERT INTO shop.t (b) VALUES ('ours')")
		applied(t, primary, replica)
		const count = "SELECT COUNT(*) FROM shop.t WHERE b IN ('theirs', 'ours')"
		if its, wanted := replica.Value(count), primary.Value(count); its != "1" || wanted != "2" {
			t.Errorf("it has %s of %s", its, wanted)
		}
		if got := status(t, replica).Replication[0]; got.SQLRunning != "Yes" ||
			got.SQLErrno != 0 || got.IORunning != "Yes" {
			t.Errorf("its threads: %+v", got)
		}
		t.Logf("%s on the primary, %s and %s on the replica",
			primary.Value("SELECT @@gtid_binlog_state"),
			replica.Value("SELECT @@gtid_slave_pos"), replica.Value("SELECT @@gtid_binlog_state"))
	})
}

// inSession runs statements in a session of their own.
func inSession(t *testing.T, i *mariadbtest.Instance, statements ...string) {
	t.Helper()
	conn, err := i.DB.Conn(t.Context())
	must(t, err)
	defer conn.Close()
	for _, statement := range statements {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	// Its settings go with it.
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// TestAVectorIndexOfTheDefaults has an index made by defaults that no event carries, which MariaDB
// writes into the definition: on a replica it is another one. What CHARACTER SET means without a
// collation is such a default too, and every event says it, or the replica takes that of before
// 11.2.
func TestAVectorIndexOfTheDefaults(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: replicaRoot,
			CA: mariadbtest.SameCA(primary)}, password)
		made := func(name, session, create string) (its, primarys string) {
			inSession(t, primary, session, create)
			applied(t, primary, replica)
			return definition(t, replica, name), definition(t, primary, name)
		}
		if its, wanted := made("c", "SET timestamp = DEFAULT",
			"CREATE TABLE shop.c (a VARCHAR(9)) CHARACTER SET utf8mb4"); its != wanted {
			t.Errorf("a character set means %q, and %q on the primary", its, wanted)
		}
		if primary.Value("SELECT VERSION() < '11.7'") == "1" {
			return // which has no vectors
		}
		if its, wanted := made("v", "SET mhnsw_default_m = 10", "CREATE TABLE shop.v (id INT "+
			"PRIMARY KEY, v VECTOR(3) NOT NULL, VECTOR INDEX (v))"); its == wanted {
			t.Errorf("the index is %q on both", its)
		}
		if !slices.Contains(consistentpoint.DefinitionSettings(), "mhnsw_default_m") {
			t.Error("the default is compared nowhere")
		}
	})
}

// TestTablesAreMadeAsOnThePrimary has settings there that no event carries: with its own, a replica
// would make columns of another format, or not make the table at all.
func TestTablesAreMadeAsOnThePrimary(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		primary.Exec("SET GLOBAL mysql56_temporal_format = OFF, GLOBAL innodb_strict_mode = OFF")
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: replicaRoot,
			CA: mariadbtest.SameCA(primary)}, password)
		inSession(t, primary, "CREATE TABLE shop.moments (at DATETIME(3))")
		applied(t, primary, replica)
		if its, wanted := definition(t, replica, "moments"),
			definition(t, primary, "moments"); its != wanted {
			t.Errorf("it is %q, and %q on the primary", its, wanted)
		}
		inSession(t, primary, "SET innodb_strict_mode = OFF",
			"CREATE TABLE shop.odd (id INT) ROW_FORMAT=FIXED")
		applied(t, primary, replica)
		for _, name := range []string{"mysql56_temporal_format", "innodb_strict_mode"} {
			if !slices.Contains(consistentpoint.DefinitionSettings(), name) {
				t.Errorf("%s is compared nowhere", name)
			}
			if its, wanted := status(t, replica).Settings[name],
				status(t, primary).Settings[name]; its != wanted || wanted != "OFF" {
				t.Errorf("%s is told as %q, and %q on the primary", name, its, wanted)
			}
		}
	})
}

// TestALongTextIsTheSameOnAReplica: a function makes none that is longer than max_allowed_packet,
// and NULL of it, with a warning alone where no strict mode is set.
func TestALongTextIsTheSameOnAReplica(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root,
			Config: "max_allowed_packet=32M"})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		inSession(t, primary, "SET sql_mode = '', binlog_format = MIXED",
			"INSERT INTO shop.t (a) VALUES (COALESCE(LENGTH(REPEAT('x', 20000000)), 0))")
		applied(t, primary, replica)
		const last = "SELECT a FROM shop.t ORDER BY id DESC LIMIT 1"
		if its, wanted := replica.Value(last), primary.Value(last); its != wanted {
			t.Errorf("it is of %s bytes, and %s on the primary", its, wanted)
		}
		if !slices.Contains(consistentpoint.RowSettings(), "max_allowed_packet") {
			t.Error("the limit is compared nowhere")
		}
	})
}

func definition(t *testing.T, i *mariadbtest.Instance, table string) (text string) {
	t.Helper()
	if err := i.DB.QueryRow("SHOW CREATE TABLE shop."+table).Scan(new(string),
		&text); err != nil {
		t.Fatal(err)
	}
	return text
}
