//go:build lab

package mariadb_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab/mariadbtest"
	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// keyed has tables with primary keys of many kinds, and rows of many types.
var keyed = []string{
	"SET NAMES utf8mb4",
	"CREATE TABLE shop.texts (a VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci, " +
		"b CHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_ai_ci, n INT UNSIGNED, " +
		"v LONGTEXT, f FLOAT, d DOUBLE, g POINT, x BIT(5), e ENUM('p', 'q'), u UUID, " +
		"w INT AS (n * 2) VIRTUAL, s INT AS (n * 3) STORED, j JSON, t TIMESTAMP(6) NULL, " +
		"PRIMARY KEY (a, b, n))",
	"INSERT INTO shop.texts (a, b, n, v, f, d, g, x, e, u, j, t) SELECT " +
		"CONCAT(CHAR(97 + seq % 5), 'ä''\\\\'), " +
		"CONCAT('ö', seq % 7), seq, REPEAT('v', seq), seq / 3, seq / 7, " +
		"POINT(seq, 1), seq % 32, 'q', UUID(), '{}', FROM_UNIXTIME(seq * 100000.5) " +
		"FROM shop.seq_1_to_3000",
	"CREATE TABLE shop.binaries (a VARBINARY(9), b DECIMAL(20,5), c DATETIME(3), " +
		"PRIMARY KEY (a, b DESC, c)) ENGINE=Aria",
	"INSERT INTO shop.binaries SELECT UNHEX(HEX(seq)), -seq / 7, FROM_UNIXTIME(seq) FROM " +
		"shop.seq_1_to_500",
	"CREATE TABLE shop.big (id BIGINT UNSIGNED PRIMARY KEY, v INT)",
	"INSERT INTO shop.big SELECT 18446744073709551615 - seq, seq FROM shop.seq_0_to_999",
	"CREATE TABLE shop.history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
	"INSERT INTO shop.history SELECT seq, 1 FROM shop.seq_1_to_100; " +
		"UPDATE shop.history SET v = 2",
	"CREATE TABLE shop.keyless (v INT); INSERT INTO shop.keyless VALUES (1), (1), (2), (NULL)",
	"CREATE TABLE shop.empty (id INT PRIMARY KEY)",
	"CREATE TABLE shop.mem (id INT) ENGINE=MEMORY",
}

// chunksOf reads all of a table in small chunks, call after call.
func chunksOf(t *testing.T, i *mariadbtest.Instance, table string) []mariadb.RowSum {
	t.Helper()
	var all []mariadb.RowSum
	var after mariadb.RowKey
	for {
		got, err := i.Server.ChecksumRows(t.Context(), mariadb.RowPlan{Table: table, After: after,
			Rows: 97, Budget: time.Millisecond})
		if err != nil || got.Unfit+got.Busy != "" || len(got.Sums) == 0 || got.Gtid == "" {
			t.Fatalf("%s behind %q: %+v %v", table, after, got, err)
		}
		all = append(all, got.Sums...)
		last := all[len(all)-1].Last
		if len(last) == 0 {
			return all
		}
		if slices.Equal(last, after) {
			t.Fatalf("%s is read behind %q again and again", table, after)
		}
		after = last
	}
}

func rangesOf(sums []mariadb.RowSum) []mariadb.RowRange {
	var all []mariadb.RowRange
	for _, s := range sums {
		all = append(all, s.RowRange)
	}
	return all
}

// sumsOn are a replica's sums of the chunks, once it has applied all of its primary.
func sumsOn(t *testing.T, primary, replica *mariadbtest.Instance, table string,
	chunks []mariadb.RowSum) []mariadb.RowSum {
	t.Helper()
	at := mariadbtest.Position(t, primary.Value("SELECT @@gtid_binlog_pos"))
	var all []mariadb.RowSum
	for part := range slices.Chunk(rangesOf(chunks), 64) {
		got, err := replica.Server.ChecksumRows(t.Context(), mariadb.RowPlan{Table: table,
			Chunks: part, At: at, OfReplica: true})
		if err != nil || got.Unfit+got.Busy != "" {
			t.Fatalf("%s: %+v %v", table, got, err)
		}
		all = append(all, got.Sums...)
	}
	return all
}

func TestRowsAreSummedInChunks(t *testing.T) {
	eachPair(t, func(t *testing.T, primaryRoot, replicaRoot string) {
		primary := mariadbtest.Primary(t, mariadbtest.Options{Root: primaryRoot})
		primary.Exec(keyed[:4]...)
		replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: replicaRoot,
			CA: mariadbtest.SameCA(primary)}, password)
		primary.Exec(keyed[4:]...)
		before := replica.Value("SELECT @@gtid_binlog_state")
		tables, err := primary.Server.Tables(t.Context(), "")
		if err != nil || len(tables) != 9 {
			t.Fatalf("%+v %v", tables, err)
		}
		if rest, err := primary.Server.Tables(t.Context(), tables[4].Name); err != nil ||
			len(rest) != 4 {
			t.Errorf("behind %s: %+v %v", tables[4].Name, rest, err)
		}
		for _, table := range tables {
			if table.Name == "shop.mem" {
				continue
			}
			chunks := chunksOf(t, primary, table.Name)
			rows := int64(0)
			for _, c := range chunks {
				rows += c.Rows
			}
			history := ""
			if table.Name == "shop.history" {
				history = " FOR SYSTEM_TIME ALL"
			}
			if want := primary.Value("SELECT COUNT(*) FROM " + table.Name +
				history); want != mariadbtest.Text(rows) {
				t.Errorf("%s: %d rows in chunks, it has %s", table.Name, rows, want)
			}
			if theirs := sumsOn(t, primary, replica, table.Name, chunks); !reflect.DeepEqual(
				theirs, chunks) {
				t.Errorf("%s: %+v\n%+v", table.Name, theirs, chunks)
			}
			if rows > 500 && len(chunks) < 3 {
				t.Errorf("%s: %d rows in %d chunks", table.Name, rows, len(chunks))
			}
		}
		if after := replica.Value("SELECT @@gtid_binlog_state"); primaryRoot == replicaRoot &&
			after != before && replica.Value("SELECT @@gtid_binlog_pos") !=
			primary.Value("SELECT @@gtid_binlog_pos") {
			t.Errorf("the replica wrote %s", after)
		}
	})
}

// TestEveryTableIsReadToItsEnd has keys of bytes that are no letter of Unicode, which no text
// tells, among others and alone, and a table that has nothing but computed columns.
func TestEveryTableIsReadToItsEnd(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE shop", "CREATE TABLE shop.computed (a INT AS (1) VIRTUAL); "+
			"INSERT INTO shop.computed () VALUES (), ()")
		expected := map[string]int64{"shop.computed": 2}
		for charset, letter := range map[string]string{"ascii": "C1", "cp1251": "98",
			"sjis": "8540", "greek": "AE", "latin1": "E4", "utf8mb4": "C3A4"} {
			for n, other := range []string{"'a'", "UNHEX('" + letter + "')"} {
				name := fmt.Sprintf("shop.%s_%d", charset, n)
				i.Exec("CREATE TABLE "+name+" (a VARCHAR(9) CHARACTER SET "+charset+
					" PRIMARY KEY)", "INSERT INTO "+name+" SELECT CONCAT(IF(seq % 3, "+other+
					", UNHEX('"+letter+"')), seq) FROM shop.seq_1_to_400")
				expected[name] = 400
			}
		}
		for name, want := range expected {
			rows, chunks := int64(0), chunksOf(t, i, name)
			for _, c := range chunks {
				rows += c.Rows
			}
			if rows != want {
				t.Errorf("%s: %d rows in %d chunks: %+v", name, rows, len(chunks), chunks)
			}
			if strings.HasSuffix(name, "_0") && len(chunks) < 2 {
				t.Errorf("%s in %d chunks", name, len(chunks))
			}
		}
	})
}

// TestSumsTellRowsApart plants what a weak sum would not see.
func TestSumsTellRowsApart(t *testing.T) {
	root := roots(t)[0]
	primary := mariadbtest.Primary(t, mariadbtest.Options{Root: root})
	primary.Exec(keyed...)
	replica := mariadbtest.ReplicaOf(t, primary, mariadbtest.Options{Root: root,
		CA: mariadbtest.SameCA(primary)}, password)
	conn, err := replica.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, planted := range []struct{ table, change, undo string }{
		{"shop.big", "UPDATE shop.big SET v = IF(v = 3, 4, 3) WHERE v IN (3, 4)",
			"UPDATE shop.big SET v = IF(v = 3, 4, 3) WHERE v IN (3, 4)"},
		{"shop.big", "UPDATE shop.big SET v = NULL WHERE v = 0", "UPDATE shop.big SET v = 0 " +
			"WHERE v IS NULL"},
		{"shop.big", "INSERT INTO shop.big VALUES (18446744073709551615 - 5000, 1)",
			"DELETE FROM shop.big WHERE id = 18446744073709551615 - 5000"},
		{"shop.keyless", "DELETE FROM shop.keyless WHERE v = 1",
			"INSERT INTO shop.keyless VALUES (1), (1)"},
		{"shop.empty", "INSERT INTO shop.empty VALUES (1)", "DELETE FROM shop.empty"},
		{"shop.history", "DELETE FROM shop.history WHERE id = 5", "SELECT 1"},
		{"shop.texts", "UPDATE shop.texts SET f = f * 1.0000002 WHERE n = 1000", ""},
		{"shop.texts", "UPDATE shop.texts SET v = NULL WHERE n = 1", ""},
		{"shop.texts", "UPDATE shop.texts SET v = INSERT(v, 2900, 1, 'x') WHERE n = 2999", ""},
		{"shop.texts", "UPDATE shop.texts SET t = t + INTERVAL 1 MICROSECOND WHERE n = 7", ""},
		{"shop.texts", "UPDATE shop.texts SET g = ST_GeomFromWKB(ST_AsWKB(g), 4326) WHERE n = 8",
			""},
	} {
		chunks := chunksOf(t, primary, planted.table)
		before := sumsOn(t, primary, replica, planted.table, chunks)
		if _, err := conn.ExecContext(t.Context(), "SET SESSION sql_log_bin = 0; "+
			planted.change); err != nil {
			t.Fatal(err)
		}
		if after := sumsOn(t, primary, replica, planted.table, chunks); reflect.DeepEqual(before,
			after) {
			t.Errorf("not seen: %s", planted.change)
		}
		if planted.undo == "" {
			continue
		}
		if _, err := conn.ExecContext(t.Context(), planted.undo); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRowsThatCannotBeSummed(t *testing.T) {
	primary := mariadbtest.Primary(t, mariadbtest.Options{Root: roots(t)[0]})
	primary.Exec(keyed...)
	for _, table := range []string{"shop.mem", "shop.gone", "gone"} {
		got, err := primary.Server.ChecksumRows(t.Context(), mariadb.RowPlan{Table: table,
			Rows: 1})
		if err != nil || got.Unfit == "" {
			t.Errorf("%s: %+v %v", table, got, err)
		}
	}
	for _, key := range []mariadb.RowKey{{"1 OR 1=1"}, {"1", "2"}, {""}} {
		got, err := primary.Server.ChecksumRows(t.Context(), mariadb.RowPlan{Table: "shop.big",
			After: key, Rows: 1})
		if err == nil {
			t.Errorf("%q: %+v", key, got)
		}
	}
	conn, err := primary.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "LOCK TABLES shop.big WRITE"); err != nil {
		t.Fatal(err)
	}
	got, err := primary.Server.ChecksumRows(t.Context(), mariadb.RowPlan{Table: "shop.big",
		Rows: 1})
	if err != nil || got.Busy == "" {
		t.Errorf("locked: %+v %v", got, err)
	}
	for range 3 {
		go func() { _, _ = primary.DB.ExecContext(t.Context(), "SELECT SLEEP(60)") }()
	}
	deadline := time.Now().Add(mariadbtest.Patience)
	for got.Busy != "4 statements run in MariaDB" && time.Now().Before(deadline) {
		if got, err = primary.Server.ChecksumRows(t.Context(), mariadb.RowPlan{Table: "shop.empty",
			Rows: 1, MaxThreads: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if got.Busy == "" {
		t.Errorf("loaded: %+v", got)
	}
}

// TestTablesThatMovedAreListedAsOthers renames two tables crosswise and exchanges a partition: the
// names are those of before.
func TestTablesThatMovedAreListedAsOthers(t *testing.T) {
	eachVersion(t, func(t *testing.T, root string) {
		i := mariadbtest.Start(t, mariadbtest.Options{Root: root, Install: true})
		i.Exec("CREATE DATABASE `s p.ä`", "USE `s p.ä`; "+
			"CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (id INT PRIMARY KEY); "+
			"CREATE TABLE still (id INT PRIMARY KEY); CREATE TABLE plain (id INT PRIMARY KEY); "+
			"CREATE TABLE `p#P#ü` (id INT PRIMARY KEY) PARTITION BY RANGE (id) "+
			"(PARTITION x VALUES LESS THAN (9), PARTITION y VALUES LESS THAN MAXVALUE)")
		listed := func() map[string]string {
			t.Helper()
			all, err := i.Server.Tables(t.Context(), "")
			must(t, err)
			created := map[string]string{}
			for _, table := range all {
				created[table.Name] = table.Created
			}
			return created
		}
		before := listed()
		i.Exec("USE `s p.ä`; RENAME TABLE a TO c, b TO a, c TO b; INSERT INTO still VALUES (1); " +
			"ALTER TABLE `p#P#ü` EXCHANGE PARTITION x WITH TABLE plain")
		after := listed()
		if len(before) != 5 || len(after) != 5 {
			t.Fatalf("%v, then %v", before, after)
		}
		for name, created := range before {
			if same := after[name] == created; created == "" || same != (name == "`s p.ä`.still") {
				t.Errorf("%s: %q, then %q", name, created, after[name])
			}
		}
	})
}
