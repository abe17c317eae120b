//go:build lab

package mariadb_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// inMySQL are objects of a user's in MariaDB's own schema.
var inMySQL = []string{
	"CREATE TABLE mysql.ours (id INT PRIMARY KEY, v INT); INSERT INTO mysql.ours VALUES (1, 1)",
	"CREATE TABLE mysql.loose (id INT PRIMARY KEY) ENGINE=MyISAM",
	"CREATE VIEW mysql.our_view AS SELECT id FROM mysql.ours",
	"CREATE SEQUENCE mysql.our_sequence",
	"CREATE PROCEDURE mysql.our_procedure() SELECT 1",
	"CREATE EVENT mysql.our_event ON SCHEDULE EVERY 1 DAY DO SELECT 1",
	"INSERT INTO shop.t (a) VALUES (1)", // brings the sequence to the disk
}

// TestObjectsInTheSchemaMySQLAreCompared: everything there that is not MariaDB's own.
func TestObjectsInTheSchemaMySQLAreCompared(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		if own := namesIn(inventoryOf(t, primary), "mysql."); len(own) > 0 {
			t.Errorf("taken for a user's: %v", own)
		}
		primary.Exec(inMySQL...)
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: replicaRoot,
			CA: mariadbtest.SameCA(primary)}, password)
		applied(t, primary, replica)
		theirs, ours := inventoryOf(t, primary), inventoryOf(t, replica)
		if all := namesIn(theirs, "mysql."); len(all) != 6 {
			t.Errorf("of 6 objects there are %v", all)
		}
		if all := namesIn(ours, "mysql."); !slices.Equal(all, namesIn(theirs, "mysql.")) {
			t.Errorf("on the replica there are %v", all)
		}
		listed, err := primary.Server.Tables(t.Context(), "")
		must(t, err)
		if !slices.ContainsFunc(listed,
			func(t mariadb.Table) bool { return t.Name == "mysql.ours" }) {
			t.Errorf("it is not listed: %+v", listed)
		}
		chunks := chunksOf(t, primary, "mysql.ours")
		replica.Exec("SET sql_log_bin = 0; DELETE FROM mysql.ours; DROP EVENT mysql.our_event; " +
			"DROP VIEW mysql.our_view; CREATE VIEW mysql.our_view AS SELECT 1 AS id")
		if theirs := sumsOn(t, primary, replica, "mysql.ours", chunks); reflect.DeepEqual(theirs,
			chunks) {
			t.Error("a row is gone, and nothing differs")
		}
		different := unequal(theirs, inventoryOf(t, replica))
		for _, name := range []string{"EVENT mysql.our_event", "VIEW mysql.our_view"} {
			if !slices.Contains(different, name) {
				t.Errorf("%s does not differ: %v", name, different)
			}
		}
	})
}

// namesIn are the objects whose names begin so.
func namesIn(all map[string]mariadb.Object, prefix string) []string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if o := all[key]; strings.HasPrefix(o.Name, prefix) && o.Kind != mariadb.ObjectTimeZones {
			names = append(names, key)
		}
	}
	return names
}

// dotted are two tables whose schema and name make one text when they are joined by a dot.
var dotted = []string{
	"CREATE DATABASE `a.b`; CREATE DATABASE a",
	"CREATE TABLE `a.b`.c (id INT PRIMARY KEY); INSERT INTO `a.b`.c VALUES (1), (2)",
	"CREATE TABLE a.`b.c` (id INT PRIMARY KEY); INSERT INTO a.`b.c` VALUES (1), (2), (3)",
	"CREATE PROCEDURE `a.b`.c() SELECT 1; CREATE PROCEDURE a.`b.c`() SELECT 2",
}

func TestTwoTablesHaveTwoNames(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		i.Exec(dotted...)
		listed, err := i.Server.Tables(t.Context(), "")
		must(t, err)
		rows := map[string]int{}
		for _, table := range listed {
			for _, chunk := range chunksOf(t, i, table.Name) {
				rows[table.Name] += int(chunk.Rows)
			}
		}
		delete(rows, "shop.t")
		delete(rows, "shop.m")
		want := map[string]int{"`a.b`.c": 2, "a.b.c": 3}
		if !maps.Equal(rows, want) {
			t.Errorf("rows are %v, not %v", rows, want)
		}
		all := inventoryOf(t, i)
		for _, name := range []string{"TABLE `a.b`.c", "TABLE a.b.c",
			"ROUTINE `a.b`.c procedure", "ROUTINE a.b.c procedure"} {
			if all[name].Digest == "" {
				t.Errorf("there is no %s", name)
			}
		}
		found := 0
		must(t, i.Server.Checksums(t.Context(), mariadb.ChecksumPlan{
			Tables: slices.Collect(maps.Keys(want))},
			func(mariadb.ChecksumHead) error { return nil },
			func(s mariadb.TableChecksum) error {
				if !s.Missing && s.Checksum != 0 {
					found++
				}
				return nil
			}))
		if found != 2 {
			t.Errorf("%d of two tables have sums", found)
		}
	})
}

// TestAMemberIsNoErrorValue: an ENUM or SET stores a number, and two of them may be one text.
func TestAMemberIsNoErrorValue(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		primary.Exec("CREATE TABLE shop.members (id INT PRIMARY KEY, e ENUM('', 'x'), "+
			"s SET('', 'x'))", "INSERT INTO shop.members VALUES (1, 1, 1), (2, 2, 2)")
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: replicaRoot,
			CA: mariadbtest.SameCA(primary)}, password)
		chunks := chunksOf(t, primary, "shop.members")
		equal := func() bool {
			return reflect.DeepEqual(sumsOn(t, primary, replica, "shop.members", chunks), chunks)
		}
		if !equal() {
			t.Error("a right copy differs")
		}
		for _, wrong := range []string{"e = 0", "e = 1, s = 0"} {
			replica.Exec("SET sql_log_bin = 0, sql_mode = ''; UPDATE IGNORE shop.members SET " +
				wrong + " WHERE id = 1")
			if equal() {
				t.Errorf("%s, and nothing differs", wrong)
			}
		}
	})
}

// TestAKilledQueryHidesNothing has somebody kill our queries all the time: one of
// information_schema that sorts ends without an error then, and without rows.
func TestAKilledQueryHidesNothing(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.t (a INT PRIMARY KEY, b INT, c INT)",
			"CREATE TABLE app.m (a INT PRIMARY KEY) ENGINE=MyISAM")
		conn, err := i.DB.Conn(t.Context())
		must(t, err)
		defer conn.Close()
		var id int
		must(t, conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
		whole, err := mariadb.Listed(t.Context(), conn, "app", "t")
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				_, _ = i.DB.ExecContext(ctx, fmt.Sprint("KILL QUERY ", id))
			}
		}()
		defer func() { stop(); <-ended }()
		answered := 0
		for n := 0; n < 20000 && answered < 300; n++ {
			listed, err := mariadb.Listed(t.Context(), conn, "app", "t")
			if err != nil {
				continue
			}
			answered++
			if listed != whole {
				t.Fatalf("after %d: %s, not %s", n, listed, whole)
			}
		}
		t.Logf("%d answers", answered)
	})
}

// TestADiscardedTableIsClosedOnBothServers: ALTER TABLE … DISCARD TABLESPACE is replicated, and the
// copy is as right as its primary.
func TestADiscardedTableIsClosedOnBothServers(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		primary.Exec("CREATE TABLE shop.gone (id INT PRIMARY KEY)")
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: replicaRoot,
			CA: mariadbtest.SameCA(primary)}, password)
		primary.Exec("ALTER TABLE shop.gone DISCARD TABLESPACE")
		applied(t, primary, replica)
		for _, i := range []*mariadbtest.Instance{primary, replica} {
			var asked []mariadb.Object
			must(t, i.Server.Inventory(t.Context(), []string{"shop.gone"},
				func(o mariadb.Object) error {
					asked = append(asked, o)
					return nil
				}))
			if len(asked) != 1 || !strings.Contains(asked[0].Problem, "discarded") {
				t.Errorf("%+v", asked)
			}
		}
	})
}
