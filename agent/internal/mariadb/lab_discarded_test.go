//go:build lab

package mariadb_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// TestADiscardedTablespaceIsNamed: the statement is replicated, so that both servers have no rows.
func TestADiscardedTablespaceIsNamed(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
		primary.Exec("CREATE DATABASE `sh.op`", "CREATE TABLE `sh.op`.d (id INT PRIMARY KEY)",
			"INSERT INTO `sh.op`.d VALUES (1), (2)",
			"CREATE TABLE shop.p (id INT PRIMARY KEY) PARTITION BY HASH (id)")
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
			CA: mariadbtest.SameCA(primary)}, password)
		keepTablespace(t, primary, replica)
		if _, err := primary.Server.CheckDatadir(t.Context()); err != nil {
			t.Error(err)
		}
		primary.Exec("ALTER TABLE `sh.op`.d DISCARD TABLESPACE")
		for range 2 { // before and after a start, behind which no tablespace is open
			applied(t, primary, replica)
			_, err := primary.Server.CheckDatadir(t.Context())
			if errs.ReasonOf(err) != errorsv1.Reason_REASON_FILES_ELSEWHERE ||
				!strings.Contains(err.Error(), "`sh.op`.d") ||
				strings.Contains(err.Error(), "shop.t ") || errs.HintOf(err).Empty() {
				t.Errorf("a copy: %v", err)
			}
			theirs, ours := inventoryOf(t, primary), inventoryOf(t, replica)
			if different := unequal(theirs, ours); len(different) > 0 {
				t.Errorf("an equal copy differs in %q: %+v %+v", different, theirs[different[0]],
					ours[different[0]])
			}
			if o := theirs["TABLE `sh.op`.d"]; !strings.Contains(o.Problem, "discarded") ||
				o.Busy {
				t.Errorf("in the inventory: %+v", o)
			}
			if s := checksumsOf(t, primary, "`sh.op`.d")["`sh.op`.d"]; !strings.Contains(
				s.LeftOut, "discarded") || s.Problem != "" {
				t.Errorf("its sum: %+v", s)
			}
			sums, err := primary.Server.ChecksumRows(t.Context(),
				mariadb.RowPlan{Table: "`sh.op`.d", Rows: 10})
			if err != nil || !strings.Contains(sums.Unfit, "discarded") {
				t.Errorf("in parts: %+v %v", sums, err)
			}
			primary.Stop()
			primary.Run()
			_, _, err = replica.Replica.Start(t.Context(), mariadbtest.Patience)
			must(t, err)
		}
		for _, i := range []*mariadbtest.Instance{primary, replica} {
			content, err := os.ReadFile(filepath.Join(i.Dir, "kept.ibd"))
			must(t, err)
			must(t, os.WriteFile(spaceOf(i), content, 0o600))
		}
		primary.Exec("ALTER TABLE `sh.op`.d IMPORT TABLESPACE", "INSERT INTO `sh.op`.d VALUES (3)")
		applied(t, primary, replica)
		chunks := chunksOf(t, primary, "`sh.op`.d")
		theirs := sumsOn(t, primary, replica, "`sh.op`.d", chunks)
		if theirs[0].Sum != chunks[0].Sum || chunks[0].Rows != 3 {
			t.Errorf("imported: %+v %+v", chunks, theirs)
		}
		if o := inventoryOf(t, primary)["TABLE `sh.op`.d"]; o.Problem != "" {
			t.Errorf("imported: %+v", o)
		}
		if _, err := primary.Server.CheckDatadir(t.Context()); err != nil {
			t.Errorf("imported: %v", err)
		}
	})
}

func spaceOf(i *mariadbtest.Instance) string {
	return filepath.Join(i.Datadir, "sh@002eop", "d.ibd")
}

// keepTablespace copies the table's file on each server, as one does who will import it again.
func keepTablespace(t *testing.T, servers ...*mariadbtest.Instance) {
	t.Helper()
	for _, i := range servers {
		conn, err := i.DB.Conn(t.Context())
		must(t, err)
		_, err = conn.ExecContext(t.Context(), "SET sql_log_bin = 0; "+
			"FLUSH TABLES `sh.op`.d FOR EXPORT")
		must(t, err)
		content, err := os.ReadFile(spaceOf(i))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(i.Dir, "kept.ibd"), content, 0o600))
		_, err = conn.ExecContext(t.Context(), "UNLOCK TABLES; SET sql_log_bin = 1")
		must(t, err)
		must(t, conn.Close())
	}
}

// checksumsOf are the sums of the tables of that name, on a server that nobody writes to.
func checksumsOf(t *testing.T, i *mariadbtest.Instance,
	names ...string) map[string]mariadb.TableChecksum {
	t.Helper()
	all := map[string]mariadb.TableChecksum{}
	must(t, i.Server.Checksums(t.Context(), mariadb.ChecksumPlan{Tables: names},
		func(mariadb.ChecksumHead) error { return nil },
		func(s mariadb.TableChecksum) error {
			all[s.Table] = s
			return nil
		}))
	return all
}
