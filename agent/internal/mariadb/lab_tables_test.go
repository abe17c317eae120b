//go:build lab

package mariadb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// kinds are tables of each kind, with what a snapshot without a lock and a checksum make of them.
func kinds() []struct {
	create            string
	torn, checksummed bool
} {
	type kind = struct {
		create            string
		torn, checksummed bool
	}
	return []kind{
		{"TABLE app.a (id INT)", false, true},
		{"TABLE app.b (id INT) WITH SYSTEM VERSIONING", false, true},
		{"TABLE app.c (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2", false, true},
		{"SEQUENCE app.d", false, false},
		{"TABLE app.e (id INT) ENGINE=MyISAM", true, true},
		{"TABLE app.f (id INT) ENGINE=MyISAM WITH SYSTEM VERSIONING", true, true},
		{"TABLE app.g (id INT PRIMARY KEY) ENGINE=MyISAM PARTITION BY HASH (id)", true, true},
		{"SEQUENCE app.h ENGINE=MyISAM", true, false},
		{"TABLE app.i (id INT) ENGINE=Aria", true, true},
		{"TABLE app.j (id INT) ENGINE=Aria WITH SYSTEM VERSIONING", true, true},
		{"TABLE app.k (id INT NOT NULL) ENGINE=CSV", true, true},
		{"TABLE app.l (id INT) ENGINE=ARCHIVE", true, true},
		{"TABLE app.m (id INT) ENGINE=MRG_MyISAM UNION=(app.e)", false, false},
		{"TABLE app.n (id INT) ENGINE=BLACKHOLE", false, false},
		{"TABLE app.o (id INT) ENGINE=MEMORY", true, false},
		{"TEMPORARY TABLE app.p (id INT) ENGINE=MyISAM", false, false},
		{"VIEW app.q AS SELECT 1", false, false},
	}
}

func TestEachKindOfTable(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "plugin_load_add=ha_archive\nplugin_load_add=ha_blackhole"})
		i.Exec("CREATE DATABASE app")
		var torn, summed, wantTorn, wantSummed []string
		for n, k := range kinds() {
			i.Exec("CREATE " + k.create)
			name := "app." + string(rune('a'+n))
			if k.torn {
				wantTorn = append(wantTorn, name)
			}
			if k.checksummed {
				wantSummed = append(wantSummed, name)
			}
		}
		session, err := i.Server.OpenPointSession(t.Context(), time.Second)
		must(t, err)
		torn = session.Before().NonTransactionalTables
		session.Close()
		must(t, i.Server.Checksums(t.Context(), mariadb.ChecksumPlan{},
			func(mariadb.ChecksumHead) error { return nil },
			func(s mariadb.TableChecksum) error {
				if s.LeftOut == "" {
					summed = append(summed, s.Table)
				}
				return nil
			}))
		if !slices.Equal(torn, wantTorn) || !slices.Equal(summed, wantSummed) {
			t.Errorf("torn %q, not %q; checksums of %q, not %q", torn, wantTorn, summed, wantSummed)
		}
	})
}

func TestATableOfAnotherServerIsNamed(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true,
			Config: "plugin_load_add=ha_federatedx"})
		i.Exec("CREATE DATABASE app", "CREATE TABLE app.here (id INT)")
		i.Exec("CREATE USER far@127.0.0.1 IDENTIFIED BY 'x'", "GRANT ALL ON app.* TO far@127.0.0.1",
			"CREATE TABLE app.far (id INT) ENGINE=FEDERATED CONNECTION='mysql://far:x@127.0.0.1:"+
				i.Value("SELECT @@port")+"/app/here'")
		namedStrays(t, i, "app.far (table of engine FEDERATED)")
		if o := inventoryOf(t, i)["TABLE app.far"]; o.Problem != "" || o.Digest == "" ||
			!o.Remote {
			t.Errorf("on a primary: %+v", o)
		}
		i.Exec("CHANGE MASTER TO master_host = '127.0.0.1', master_port = 1, master_user = 'r'")
		if o := inventoryOf(t, i)["TABLE app.far"]; !strings.Contains(o.Problem, "FEDERATED") ||
			!o.Remote {
			t.Errorf("on a replica it is a table like any other: %+v", o)
		}
	})
}

// TestSchemasThatAreCalledAlmostLikeMariaDBs are the user's: names of schemas have letters of both
// cases, and information_schema compares them without.
func TestSchemasThatAreCalledAlmostLikeMariaDBs(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		want := []string{"MySQL.t", "Sys.t", "UnderStudy.t"}
		for _, schema := range []string{"MySQL", "Sys", "UnderStudy"} {
			i.Exec("CREATE DATABASE "+schema, "CREATE TABLE "+schema+".t (id INT) ENGINE=MyISAM")
		}
		if got := status(t, i).NonTransactional; !slices.Equal(got, want) {
			t.Errorf("torn: %q", got)
		}
		var parts, objects []string
		tables, err := i.Server.Tables(t.Context(), "")
		must(t, err)
		for _, table := range tables {
			parts = append(parts, table.Name)
		}
		must(t, i.Server.Inventory(t.Context(), want, func(o mariadb.Object) error {
			objects = append(objects, o.Name)
			return nil
		}))
		slices.Sort(objects)
		if !slices.Equal(parts, want) || !slices.Equal(objects, want) {
			t.Errorf("compared in parts: %q, objects: %q", parts, objects)
		}
	})
}

// TestAllTablesAreListedOnce however many pages they take: to list them opens each.
func TestAllTablesAreListedOnce(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE app")
		for from := 0; from < 2100; from += 100 {
			statements := make([]string, 0, 100)
			for n := range 100 {
				statements = append(statements, fmt.Sprintf(
					"CREATE TABLE app.t%d (id INT) ENGINE=MyISAM", from+n))
			}
			i.Exec(statements...)
		}
		i.Exec("SET GLOBAL log_output='TABLE', general_log=ON")
		seen := map[string]bool{}
		pages := 0
		for after := ""; ; pages++ {
			page, err := i.Server.Tables(t.Context(), after)
			must(t, err)
			if len(page) == 0 {
				break
			}
			for _, table := range page {
				seen[table.Name] = true
			}
			after = page[len(page)-1].Name
		}
		if len(seen) != 2100 || pages != 3 {
			t.Errorf("%d tables on %d pages", len(seen), pages)
		}
		if got := i.Value("SELECT CONCAT(SUM(argument LIKE 'SELECT table_schema%'), ' ', " +
			"SUM(argument LIKE 'SELECT HEX(SUBSTRING_INDEX%')) FROM mysql.general_log"); got !=
			"1 1" {
			t.Errorf("they were listed, and their ids, %s times", got)
		}
		i.Exec("CREATE TABLE app.a (id INT)")
		page, err := i.Server.Tables(t.Context(), "")
		must(t, err)
		if page[0].Name != "app.a" {
			t.Error("a table that is new is not in the next list")
		}
	})
}
