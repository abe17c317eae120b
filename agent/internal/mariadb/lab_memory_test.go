//go:build lab

package mariadb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// A replica with MEMORY tables logs nothing of its own, whoever reads them first, after each start.
func TestMemoryTablesLeaveAReplicaClean(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		const odd = "shop.`a``b.c`"
		primary.Exec("CREATE TABLE shop.mem (id INT PRIMARY KEY) ENGINE=MEMORY",
			"CREATE TABLE "+odd+" (id INT) ENGINE=MEMORY",
			"CREATE TABLE shop.parts (id INT) ENGINE=MEMORY PARTITION BY HASH (id) PARTITIONS 2",
			"CREATE VIEW shop.broken AS SELECT * FROM shop.mem",
			"INSERT INTO shop.mem VALUES (1)", "INSERT INTO "+odd+" VALUES (1)")
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		if got := strings.Join(status(t, replica).Memory, " "); got != "shop.a`b.c shop.mem "+
			"shop.parts" {
			t.Errorf("MEMORY tables: %s", got)
		}
		rows := 1
		clean := func(when string) {
			t.Helper()
			for _, table := range []string{"mem", "`a``b.c`", "parts"} {
				replica.Value("SELECT COUNT(*) FROM shop." + table)
			}
			sums := slices.DeleteFunc(checksums(t, replica), func(s mariadb.TableChecksum) bool {
				return s.LeftOut != ""
			})
			if len(sums) != 2 {
				t.Errorf("%s: checksums of %v", when, sums)
			}
			state := status(t, replica).Gtid.BinlogState
			if strings.Contains(","+state, ",0-2-") {
				t.Errorf("%s: the replica wrote %s", when, state)
			}
			rows++
			primary.Exec(fmt.Sprintf("INSERT INTO shop.mem VALUES (%d)", rows))
			target := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
			if err := replica.Replica.WaitForGtid(t.Context(), target, mariadbtest.Patience,
				func(mariadb.Progress) error { return nil }); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
		}
		clean("the first start")
		settings := replica.Settings(2)
		settings.SkipReplicaStart = false
		if _, err := replica.Configuration.Set(t.Context(), settings); err != nil {
			t.Fatal(err)
		}
		for _, end := range []func(){replica.Stop, replica.Kill} {
			end()
			rows++ // replication may be what opens it first
			primary.Exec(fmt.Sprintf("INSERT INTO shop.mem VALUES (%d)", rows))
			replica.Run()
			clean("another start")
		}
	})
}
