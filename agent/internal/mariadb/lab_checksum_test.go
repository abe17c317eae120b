//go:build lab

package mariadb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// TestSampleOfTablesIsBounded has a table that takes longer than a sample may, and a small one.
func TestSampleOfTablesIsBounded(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "log_bin=mariadb-bin"})
		i.Exec("CREATE DATABASE shop", "CREATE TABLE shop.small (id int PRIMARY KEY)",
			"INSERT INTO shop.small VALUES (1)",
			"CREATE TABLE shop.big (id int PRIMARY KEY, v varchar(200))",
			"INSERT INTO shop.big SELECT seq, REPEAT('x', 200) FROM shop.seq_1_to_300000",
			"ANALYZE TABLE shop.big")
		sample := func(plan mariadb.ChecksumPlan) map[string]mariadb.TableChecksum {
			sums := map[string]mariadb.TableChecksum{}
			if err := i.Server.Checksums(t.Context(), plan,
				func(mariadb.ChecksumHead) error { return nil },
				func(c mariadb.TableChecksum) error { sums[c.Table] = c; return nil }); err != nil {
				t.Fatal(err)
			}
			return sums
		}
		read := func(c mariadb.TableChecksum) bool { return c.LeftOut == "" && c.Checksum > 0 }
		all := sample(mariadb.ChecksumPlan{SampleTime: time.Hour})
		if !read(all["shop.big"]) || !read(all["shop.small"]) {
			t.Errorf("with time for all: %+v", all)
		}
		some := sample(mariadb.ChecksumPlan{SampleBytes: 1 << 20, SampleTime: time.Hour})
		if some["shop.big"].LeftOut == "" || !read(some["shop.small"]) {
			t.Errorf("with room for one: %+v", some)
		}
		began := time.Now()
		none := sample(mariadb.ChecksumPlan{Tables: []string{"shop.big", "shop.small"},
			SampleTime: 5 * time.Millisecond})
		if none["shop.big"].LeftOut == "" || none["shop.big"].Checksum != 0 ||
			none["shop.small"].LeftOut == "" {
			t.Errorf("without time, after %s: %+v", time.Since(began), none)
		}
	})
}

// TestNoLimitHidesColumns has a session whose statements are ended after some microseconds, each
// time another number of them: MariaDB answers a query of information_schema with nothing then.
func TestNoLimitHidesColumns(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.t (a INT PRIMARY KEY, b INT, c INT)")
		conn, err := i.DB.Conn(t.Context())
		must(t, err)
		defer conn.Close()
		whole, err := mariadb.ShapeOf(t.Context(), conn, "app", "t")
		must(t, err)
		for n := range 2000 {
			_, err := conn.ExecContext(t.Context(), fmt.Sprintf(
				"SET SESSION max_statement_time = %f", float64(20+n%600)/1e6))
			must(t, err)
			if shape, err := mariadb.ShapeOf(t.Context(), conn, "app", "t"); err != nil ||
				shape != whole {
				t.Fatalf("after %d: %s %v, not %s", n, shape, err, whole)
			}
		}
	})
}

// TestChecksumSeparatesColumns has rows of which the characters are the same, in other columns.
func TestChecksumSeparatesColumns(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.t (a VARCHAR(9), b VARCHAR(9))",
			"INSERT INTO app.t VALUES ('ab', 'c'), ('x', 'yz')")
		sum := func() (found uint64) {
			must(t, i.Server.Checksums(t.Context(), mariadb.ChecksumPlan{},
				func(mariadb.ChecksumHead) error { return nil },
				func(s mariadb.TableChecksum) error {
					found = s.Checksum
					if s.Missing {
						t.Errorf("%s is missing", s.Table)
					}
					return nil
				}))
			return found
		}
		before := sum()
		i.Exec("DELETE FROM app.t", "INSERT INTO app.t VALUES ('a', 'bc'), ('xy', 'z')")
		if after := sum(); after == before {
			t.Errorf("both have %d", after)
		}
	})
}

// TestATableThatCannotBeReadIsNotMissing has one that is locked, one that is damaged, one that is
// renamed, and those without rows of their own.
func TestATableThatCannotBeReadIsNotMissing(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "log_bin=mariadb-bin"})
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.whole (id INT PRIMARY KEY)",
			"CREATE TABLE app.locked (id INT PRIMARY KEY)",
			"CREATE TABLE app.torn (id INT PRIMARY KEY) ENGINE=MyISAM",
			"CREATE TABLE app.memory (id INT PRIMARY KEY) ENGINE=MEMORY",
			"CREATE TABLE app.child (id INT) ENGINE=MyISAM",
			"CREATE TABLE app.merge (id INT) ENGINE=MERGE UNION=(app.child)", "FLUSH TABLES")
		must(t, os.Remove(filepath.Join(i.Datadir, "app", "torn.MYI")))
		conn, err := i.DB.Conn(t.Context())
		must(t, err)
		defer conn.Close()
		_, err = conn.ExecContext(t.Context(), "LOCK TABLES app.locked WRITE")
		must(t, err)
		got := map[string]mariadb.TableChecksum{}
		must(t, i.Server.Checksums(t.Context(), mariadb.ChecksumPlan{Tables: []string{"app.whole",
			"app.locked", "app.torn", "app.memory", "app.merge", "app.gone", "none.gone"}},
			func(mariadb.ChecksumHead) error { return nil },
			func(s mariadb.TableChecksum) error { got[s.Table] = s; return nil }))
		for table, right := range map[string]func(mariadb.TableChecksum) bool{
			"app.whole": func(s mariadb.TableChecksum) bool {
				return !s.Missing && s.Problem == "" && s.LeftOut == "" && s.Checksum > 0
			},
			"app.locked": func(s mariadb.TableChecksum) bool { return s.Problem != "" && s.Busy },
			"app.torn":   func(s mariadb.TableChecksum) bool { return s.Problem != "" && !s.Busy },
			"app.memory": func(s mariadb.TableChecksum) bool { return s.LeftOut != "" },
			"app.merge":  func(s mariadb.TableChecksum) bool { return s.LeftOut != "" },
			"app.gone":   func(s mariadb.TableChecksum) bool { return s.Missing },
			"none.gone":  func(s mariadb.TableChecksum) bool { return s.Missing },
		} {
			s := got[table]
			if gone := table == "app.gone" || table == "none.gone"; !right(s) || s.Missing != gone {
				t.Errorf("%s: %+v", table, s)
			}
		}
	})
}

// TestRowsWithNULAreToldApart has rows that are the same when their values are joined by NUL.
func TestRowsWithNULAreToldApart(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.a (a VARBINARY(9), b VARCHAR(9))",
			"CREATE TABLE app.b LIKE app.a",
			"INSERT INTO app.a VALUES ('a', 'b\\0c'), (NULL, 'x'), ('', NULL)",
			"INSERT INTO app.b VALUES ('a\\0b', 'c'), (NULL, 'x'), ('', NULL)")
		a, b := chunksOf(t, i, "app.a"), chunksOf(t, i, "app.b")
		if a[0].Rows != 3 || a[0].Sum == b[0].Sum {
			t.Errorf("%+v %+v", a, b)
		}
	})
}

// TestARowWithoutAHashIsNoRowOfTheSum has rows that are longer than MariaDB lets a value be.
func TestARowWithoutAHashIsNoRowOfTheSum(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "max_allowed_packet=16384"})
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY, a VARCHAR(9000), "+
			"b VARCHAR(9000)) CHARACTER SET latin1",
			"INSERT INTO app.t VALUES (1, REPEAT('a', 9000), REPEAT('b', 9000))")
		got, err := i.Server.ChecksumRows(t.Context(), mariadb.RowPlan{Table: "app.t", Rows: 10,
			Budget: time.Second})
		if err != nil || got.Busy == "" || len(got.Sums) > 0 {
			t.Errorf("%+v %v", got, err)
		}
	})
}
