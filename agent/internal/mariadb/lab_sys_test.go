//go:build lab

package mariadb_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// inSys are objects of a user's in MariaDB's schema of views, and a log that was renamed.
var inSys = []string{
	"CREATE TABLE sys.mine (id INT PRIMARY KEY) ENGINE=MyISAM",
	"INSERT INTO sys.mine VALUES (1), (2)",
	"CREATE VIEW sys.mine_v AS SELECT id FROM sys.mine",
	"CREATE PROCEDURE sys.mine_p() SELECT 1",
	"CREATE TRIGGER sys.mine_t BEFORE INSERT ON sys.mine FOR EACH ROW SET NEW.id = 1",
	"CREATE EVENT sys.mine_e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
	"CREATE TABLE mysql.slow_log_new LIKE mysql.slow_log; RENAME TABLE mysql.slow_log TO " +
		"mysql.slow_log_backup, mysql.slow_log_new TO mysql.slow_log",
}

// TestObjectsInTheSchemaSysAreCompared: a copy of a later version has other views of MariaDB's, and
// each server has rows of its own in a log that was renamed.
func TestObjectsInTheSchemaSysAreCompared(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		if own := namesIn(inventoryOf(t, primary), "sys."); len(own) > 0 {
			t.Errorf("taken for a user's: %v", own)
		}
		primary.Exec(inSys...)
		replica, point := mariadbtest.CopyOf(t, primary,
			mariadbtest.Options{Root: replicaRoot, CA: mariadbtest.SameCA(primary)})
		replica.Run()
		_, _, err := replica.Datadirs.Upgrade(t.Context(), mariadbtest.Patience,
			func(string) error { return nil })
		must(t, err)
		replica.Join(primary, point, password)
		_, _, err = replica.Replica.Start(t.Context(), mariadbtest.Patience)
		must(t, err)
		applied(t, primary, replica)
		theirs, ours := inventoryOf(t, primary), inventoryOf(t, replica)
		if different := unequal(theirs, ours); len(different) > 0 {
			t.Errorf("an equal copy differs in %q", different)
		}
		want := []string{"EVENT sys.mine_e", "ROUTINE sys.mine_p procedure", "TABLE sys.mine",
			"TRIGGER sys.mine_t", "VIEW sys.mine_v"}
		if found := namesIn(theirs, "sys."); !slices.Equal(found, want) {
			t.Errorf("compared are %q, not %q", found, want)
		}
		tables := []string{"shop.m", "shop.t", "sys.mine"}
		sums := map[string]bool{}
		must(t, primary.Server.Checksums(t.Context(), mariadb.ChecksumPlan{},
			func(mariadb.ChecksumHead) error { return nil },
			func(s mariadb.TableChecksum) error {
				sums[s.Table] = true
				return nil
			}))
		if names := slices.Sorted(maps.Keys(sums)); !slices.Equal(names, tables) {
			t.Errorf("summed: %q", names)
		}
		listed, err := primary.Server.Tables(t.Context(), "")
		must(t, err)
		if !slices.EqualFunc(listed, tables,
			func(l mariadb.Table, name string) bool { return l.Name == name }) {
			t.Errorf("compared in parts: %+v", listed)
		}
		if torn := status(t, primary).NonTransactional; !slices.Equal(torn,
			[]string{"shop.m", "sys.mine"}) {
			t.Errorf("torn: %q", torn)
		}
		replica.Exec("SET sql_log_bin = 0; DELETE FROM sys.mine WHERE id = 2; DROP VIEW sys.mine_v")
		chunks := chunksOf(t, primary, "sys.mine")
		if theirs := sumsOn(t, primary, replica, "sys.mine", chunks); theirs[0].Rows != 1 ||
			chunks[0].Rows != 2 {
			t.Errorf("%+v, on the replica %+v", chunks, theirs)
		}
		if different := unequal(theirs, inventoryOf(t, replica)); !slices.Equal(different,
			[]string{"VIEW sys.mine_v"}) {
			t.Errorf("differs: %q", different)
		}
	})
}

// TestAKilledStatementIsNoClosedTable: on both sides it would pass for a table that neither opens.
func TestAKilledStatementIsNoClosedTable(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE app", "CREATE USER killer@localhost",
			"GRANT ALL ON *.* TO killer@localhost")
		for _, name := range strings.Split("abcdefghij", "") {
			i.Exec("CREATE TABLE app." + name + " (a INT PRIMARY KEY)")
		}
		i.Exec("CHANGE MASTER TO master_host = '127.0.0.1', master_port = 1, master_user = 'r'")
		killer := i.As(t, "killer")
		defer killer.Close()
		ended, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				default: // not all the time, or no list is read to its end
					_, _ = killer.ExecContext(t.Context(), "DO SLEEP(0.002); "+
						"KILL QUERY USER root@localhost")
				}
			}
		}()
		defer func() { close(stop); <-ended }()
		reached, killed := 0, 0
		for n := 0; n < 1000 && killed < 60; n++ {
			err := i.Server.Inventory(t.Context(), nil, func(o mariadb.Object) error {
				if o.Problem != "" {
					t.Errorf("%+v", o)
				}
				reached++
				return nil
			})
			if err != nil {
				killed++
			}
		}
		t.Logf("%d objects, %d inventories ended", reached, killed)
	})
}
