//go:build lab

package mariadb_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// everyKind has an object of each kind, and tables of most engines.
var everyKind = []string{
	"CREATE TABLE shop.parts (id INT PRIMARY KEY, c INT) PARTITION BY RANGE (id) " +
		"(PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN MAXVALUE)",
	"INSERT INTO shop.parts VALUES (1, 1)",
	"CREATE TABLE shop.versioned (id INT PRIMARY KEY) ENGINE=MyISAM WITH SYSTEM VERSIONING",
	"INSERT INTO shop.versioned VALUES (1); DELETE FROM shop.versioned",
	"CREATE TABLE shop.aria (id INT PRIMARY KEY, j JSON, g INT AS (id + 1) STORED) ENGINE=Aria",
	"CREATE TABLE shop.csv (id INT NOT NULL) ENGINE=CSV",
	"CREATE TABLE shop.mem (id INT) ENGINE=MEMORY; INSERT INTO shop.mem VALUES (1)",
	"CREATE TABLE shop.one (id INT) ENGINE=MyISAM",
	"CREATE TABLE shop.merge (id INT) ENGINE=MERGE UNION=(shop.one)",
	"CREATE TABLE shop.`odd'.na\nme ы` (id INT PRIMARY KEY COMMENT 'AUTO_INCREMENT=7', " +
		"e ENUM('x', 'y') DEFAULT 'y', d DECIMAL(9,3), t TIMESTAMP, FULLTEXT KEY f (v), " +
		"v VARCHAR(99) CHARACTER SET latin1, FOREIGN KEY (id) REFERENCES shop.parent (id)) " +
		"CHARACTER SET latin1 COLLATE latin1_swedish_ci",
	"CREATE USER chief@localhost; GRANT SUPER, REPLICATION CLIENT, REPLICATION SLAVE, EVENT " +
		"ON *.* TO chief@localhost WITH GRANT OPTION",
	"CREATE SEQUENCE shop.seq START WITH 5 INCREMENT BY 3 CACHE 10; SELECT NEXTVAL(shop.seq)",
	"CREATE VIEW shop.v AS SELECT id, COUNT(*) AS n, CAST(a AS CHAR(5)) AS c FROM shop.t " +
		"WHERE b LIKE '%x' GROUP BY id",
	"CREATE VIEW shop.broken AS SELECT id FROM shop.one; DROP TABLE shop.one",
	"CREATE PROCEDURE shop.p(IN n INT) SELECT n; " +
		"CREATE FUNCTION shop.f() RETURNS INT DETERMINISTIC RETURN 1",
	"CREATE TRIGGER shop.tr BEFORE INSERT ON shop.aria FOR EACH ROW SET NEW.j = '{}'",
	"CREATE EVENT shop.e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
	"CREATE USER app@'%' IDENTIFIED BY 'secret'; CREATE ROLE reader; GRANT reader TO app@'%'",
	"GRANT SELECT, INSERT ON shop.* TO app@'%'; GRANT UPDATE (a) ON shop.t TO reader",
	"GRANT RELOAD, PROCESS ON *.* TO app@'%'; SET DEFAULT ROLE reader FOR app@'%'",
	"CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST '192.0.2.1', DATABASE 'x')",
	// A durable commit brings the rows of the sequence to the disk: its own statements do not.
	"INSERT INTO shop.t (a) VALUES (1)",
}

func inventoryOf(t *testing.T, i *mariadbtest.Instance) map[string]mariadb.Object {
	t.Helper()
	all := map[string]mariadb.Object{}
	err := i.Server.Inventory(t.Context(), nil, func(o mariadb.Object) error {
		all[string(o.Kind)+" "+o.Name] = o
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unequal are the objects that differ, but for a problem that both have.
func unequal(a, b map[string]mariadb.Object) []string {
	var different []string
	for name := range maps.Keys(union(a, b)) {
		if a[name] != b[name] {
			different = append(different, name)
		}
	}
	slices.Sort(different)
	return different
}

func union(a, b map[string]mariadb.Object) map[string]mariadb.Object {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// applied waits until the replica has applied all of its primary.
func applied(t *testing.T, primary, replica *mariadbtest.Instance) {
	t.Helper()
	at := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
	if err := replica.Replica.WaitForGtid(t.Context(), at, mariadbtest.Patience,
		func(mariadb.Progress) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestInventoryIsEqualOnAReplica(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		primary.Exec("CREATE TABLE shop.parent (id INT PRIMARY KEY)")
		half := len(everyKind) / 2
		primary.Exec(everyKind[:half]...)
		replica, point := mariadbtest.CopyOf(t, primary,
			mariadbtest.Options{Root: replicaRoot, CA: mariadbtest.SameCA(primary)})
		replica.Run()
		if _, _, err := replica.Datadirs.Upgrade(t.Context(), mariadbtest.Patience,
			func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		replica.Join(primary, point, password)
		if _, _, err := replica.Replica.Start(t.Context(), mariadbtest.Patience); err != nil {
			t.Fatal(err)
		}
		primary.Exec(everyKind[half:]...)
		applied(t, primary, replica)
		before := replica.Value("SELECT @@gtid_binlog_state")
		theirs, ours := inventoryOf(t, primary), inventoryOf(t, replica)
		delete(theirs, "LINKED_SERVER s") // MariaDB does not log CREATE SERVER
		if primaryRoot != replicaRoot {   // the upgrade gives those with SUPER what was part of it
			theirs["GRANTS chief@localhost"] = ours["GRANTS chief@localhost"]
		}
		if different := unequal(theirs, ours); len(different) > 0 {
			for _, name := range different {
				t.Errorf("%+v\n%+v", theirs[name], ours[name])
			}
		}
		if len(theirs) < 30 {
			t.Errorf("%d objects", len(theirs))
		}
		if after := replica.Value("SELECT @@gtid_binlog_state"); after != before {
			t.Errorf("the replica wrote %s, was at %s", after, before)
		}
	})
}

// pairWithEveryKind has every kind of object, on the replica too.
func pairWithEveryKind(t *testing.T, root string) (primary, replica *mariadbtest.Instance) {
	t.Helper()
	primary = mariadbtest.Primary(t, mariadbtest.Options{Root: root})
	primary.Exec("CREATE TABLE shop.parent (id INT PRIMARY KEY)")
	primary.Exec(everyKind...)
	replica = mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
		CA: mariadbtest.SameCA(primary)}, password)
	applied(t, primary, replica)
	return primary, replica
}

func TestInventoryTellsWhatDiffers(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary, replica := pairWithEveryKind(t, root)
		theirs := inventoryOf(t, primary)
		planted := map[string][]string{
			"CREATE SCHEMA extra":                        {"SCHEMA extra"},
			"ALTER SCHEMA shop COLLATE utf8mb4_bin":      {"SCHEMA extra", "SCHEMA shop"},
			"DROP TRIGGER shop.tr":                       {"TRIGGER shop.tr"},
			"DROP PROCEDURE shop.p":                      {"ROUTINE shop.p procedure"},
			"ALTER VIEW shop.v AS SELECT 1":              {"VIEW shop.v"},
			"ALTER EVENT shop.e DISABLE":                 {"EVENT shop.e"},
			"REVOKE INSERT ON shop.* FROM app@'%'":       {"GRANTS app@%"},
			"SET PASSWORD FOR app@'%' = PASSWORD('two')": {"ACCOUNT app@%"},
			"SELECT SETVAL(shop.seq, 5000)":              {"SEQUENCE shop.seq"},
			"ALTER TABLE shop.t ADD KEY other (b)":       {"TABLE shop.t"},
			"DROP SERVER s":                              {"LINKED_SERVER s"},
			"INSERT INTO mysql.time_zone_name VALUES ('Here', 1)": {
				"TIME_ZONES mysql.time_zone_name"},
		}
		conn, err := replica.DB.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		expected := map[string]bool{}
		for statement, names := range planted {
			if _, err := conn.ExecContext(t.Context(), "SET SESSION sql_log_bin = 0; "+
				statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
			for _, name := range names {
				expected[name] = true
			}
		}
		// A password is part of the grants' text too.
		expected["GRANTS app@%"] = true
		got := unequal(theirs, inventoryOf(t, replica))
		if want := slices.Sorted(maps.Keys(expected)); !slices.Equal(got, want) {
			t.Errorf("differs: %q\nwant %q", got, want)
		}
	})
}

// TestInventoryOpensEveryTable takes tables' files away from a replica, and has MariaDB empty a
// MEMORY table.
func TestInventoryOpensEveryTable(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		_, replica := pairWithEveryKind(t, root)
		before := replica.Value("SELECT @@gtid_binlog_state")
		replica.Stop()
		for _, file := range []string{"shop/t.ibd", "shop/parts#P#b.ibd", "shop/aria.MAD",
			"mysql/innodb_index_stats.ibd"} {
			if err := os.Remove(filepath.Join(replica.Datadir, file)); err != nil {
				t.Fatal(err)
			}
		}
		torn := filepath.Join(replica.Datadir, "shop/m.MYI")
		if err := os.Truncate(torn, 100); err != nil {
			t.Fatal(err)
		}
		replica.Run()
		got := map[string]string{}
		for name, o := range inventoryOf(t, replica) {
			if o.Problem != "" && !o.Busy {
				got[name] = o.Problem
			}
		}
		for _, name := range []string{"TABLE shop.t", "TABLE shop.parts", "TABLE shop.aria",
			"TABLE shop.m", "TABLE mysql.innodb_index_stats"} {
			if got[name] == "" {
				t.Errorf("%s counts as opened", name)
			}
			delete(got, name)
		}
		delete(got, "TABLE shop.merge") // its table is gone on the primary too
		delete(got, "VIEW shop.v")      // of a table that is gone
		if len(got) > 0 {
			t.Errorf("%q", got)
		}
		if after := replica.Value("SELECT @@gtid_binlog_state"); after != before {
			t.Errorf("the replica wrote %s, was at %s", after, before)
		}
	})
}

// TestInventoryHashesLargeBodies has routines whose bodies are almost as large as a packet may be.
func TestInventoryHashesLargeBodies(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "max_allowed_packet=1M"})
		i.Exec("CREATE DATABASE shop")
		seen := map[string]bool{}
		for _, last := range []string{"a", "b"} {
			i.Exec("CREATE OR REPLACE PROCEDURE shop.large() SELECT '" +
				strings.Repeat("x", 900_000) + last + "'")
			o := inventoryOf(t, i)["ROUTINE shop.large procedure"]
			if o.Digest == "" || seen[o.Digest] {
				t.Errorf("ends with %s: %+v", last, o)
			}
			seen[o.Digest] = true
		}
	})
}

// TestEventsThatAreOver have run for the last time: the primary disables such events without its
// binary log.
func TestEventsThatAreOver(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		primary.Exec("SET GLOBAL event_scheduler = ON", "CREATE EVENT shop.once ON SCHEDULE AT "+
			"CURRENT_TIMESTAMP + INTERVAL 1 SECOND ON COMPLETION PRESERVE DO SELECT 1",
			"CREATE EVENT shop.often ON SCHEDULE EVERY 1 SECOND ENDS CURRENT_TIMESTAMP + INTERVAL "+
				"2 SECOND ON COMPLETION PRESERVE DO SELECT 1",
			"CREATE EVENT shop.daily ON SCHEDULE EVERY 1 DAY ON COMPLETION PRESERVE DO SELECT 1")
		const over = "SELECT COUNT(*) FROM mysql.event WHERE status = 'DISABLED' AND " +
			"COALESCE(execute_at, ends) <= UTC_TIMESTAMP()"
		for deadline := time.Now().Add(mariadbtest.Patience); primary.Value(over) != "2"; {
			if time.Now().After(deadline) {
				t.Fatalf("%s events are over", primary.Value(over))
			}
		}
		applied(t, primary, replica)
		if different := unequal(inventoryOf(t, primary), inventoryOf(t,
			replica)); len(different) > 0 {
			t.Errorf("differs: %q", different)
		}
		inSession(t, primary, "SET sql_log_bin = 0", "ALTER EVENT shop.daily DISABLE")
		if different := unequal(inventoryOf(t, primary), inventoryOf(t,
			replica)); !slices.Equal(different, []string{"EVENT shop.daily"}) {
			t.Errorf("one is disabled, and %q differs", different)
		}
	})
}

func TestInventoryWaitsBriefly(t *testing.T) {
	root := roots(t)[0]
	primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
	replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
		CA: mariadbtest.SameCA(primary)}, password)
	conn, err := replica.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "LOCK TABLES shop.t WRITE"); err != nil {
		t.Fatal(err)
	}
	all := inventoryOf(t, replica)
	if o := all["TABLE shop.t"]; !o.Busy || o.Problem == "" {
		t.Errorf("%+v", o)
	}
	if o := all["TABLE shop.m"]; o.Problem != "" || o.Digest == "" {
		t.Errorf("%+v", o)
	}
}
