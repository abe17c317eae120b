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
