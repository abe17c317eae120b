//go:build lab

package mariadb_test

import (
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
