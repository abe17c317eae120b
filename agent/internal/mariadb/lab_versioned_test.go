//go:build lab

package mariadb_test

import (
	"reflect"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
)

// versioned are tables that name the columns which say when a row was in them: MariaDB adds the
// latter to the primary key, and shows it there.
var versioned = []string{
	"CREATE TABLE shop.by_number (id INT PRIMARY KEY, v INT, " +
		"a BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, " +
		"b BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME(a, b)) " +
		"WITH SYSTEM VERSIONING",
	"CREATE TABLE shop.by_time (id INT PRIMARY KEY, v INT, " +
		"a TIMESTAMP(6) GENERATED ALWAYS AS ROW START, " +
		"b TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME(a, b)) " +
		"WITH SYSTEM VERSIONING",
}

// TestVersionedRowsAreEqualOnTwoServers, which number their transactions each for itself.
func TestVersionedRowsAreEqualOnTwoServers(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		primary.Exec(versioned...)
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: replicaRoot,
			CA: mariadbtest.SameCA(primary)}, password)
		// The replica's transactions have other numbers from here on.
		replica.Exec("SET sql_log_bin = 0; CREATE TABLE shop.own (id INT) ENGINE=InnoDB; " +
			"INSERT INTO shop.own VALUES (1); DROP TABLE shop.own")
		for _, table := range []string{"shop.by_number", "shop.by_time"} {
			primary.Exec("INSERT INTO "+table+" (id, v) SELECT seq, 1 FROM shop.seq_1_to_300",
				"UPDATE "+table+" SET v = 2 WHERE id % 3 = 0",
				"DELETE FROM "+table+" WHERE id % 5 = 0")
		}
		for _, table := range []string{"shop.by_number", "shop.by_time"} {
			chunks := chunksOf(t, primary, table)
			if len(chunks) < 2 {
				t.Errorf("%s in %d chunks", table, len(chunks))
			}
			if theirs := sumsOn(t, primary, replica, table, chunks); !reflect.DeepEqual(theirs,
				chunks) {
				t.Errorf("%s: %+v\n%+v", table, theirs, chunks)
			}
			replica.Exec("SET sql_log_bin = 0; DELETE HISTORY FROM " + table)
			if theirs := sumsOn(t, primary, replica, table, chunks); reflect.DeepEqual(theirs,
				chunks) {
				t.Errorf("%s: its history is gone, and nothing differs", table)
			}
		}
	})
}
