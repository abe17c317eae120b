package mariadb

import (
	"context"
	"slices"
)

// table is one of the user's tables: everything that has rows, and no view. Temporary tables are
// not among them: they are of a session, and a copy has none.
type table struct {
	tableName
	// kind is BASE TABLE, SYSTEM VERSIONED or SEQUENCE; partitions are of their table.
	kind string
	// engine is that of its partitions too; empty for a table that the server cannot open.
	engine string
	// spaceless is true for one that may have no tablespace, where that was asked for.
	spaceless bool
	// bytes is an estimate, where it was asked for.
	bytes int64
}

// ofUser is the condition that a table or view is the user's, and no other program's.
func ofUser() string {
	return tableNotBuiltin() + " AND " +
		notAmong("table_schema", "'understudy'")
}

// notAmong compares as the names are written: information_schema has a collation for which Sys, a
// schema of the user's, is sys.
func notAmong(schema, list string) string { return "BINARY " + schema + " NOT IN (" + list + ")" }

// mostTables is how many the agent lists: they take some 50 MB.
const mostTables = 200_000

// tables is the one list of the user's tables, by name. Each purpose says what it does with each
// kind; the page docs/datadir.md has all of it in one table. Sizes cost a look into each table.
func tables(ctx context.Context, q querier, sizes bool) ([]table, error) {
	bytes := "0"
	if sizes {
		bytes = "COALESCE(data_length, 0)"
	}
	var all []table
	err := each(ctx, q, "SELECT table_schema AS s, table_name AS n, table_type AS k, "+
		"engine AS e, "+bytes+" AS b FROM information_schema.tables "+
		"WHERE table_type NOT LIKE '%VIEW' AND "+ofUser(),
		func(r row) error {
			all = append(all, table{tableName: tableName{r["s"], r["n"]}, kind: r["k"],
				engine: r["e"], bytes: r.number("b")})
			return tooMany(len(all), mostTables, "tables")
		})
	slices.SortFunc(all, func(a, b table) int { return a.compare(b.tableName) })
	return all, err
}

// Conditions for tables by their engine, which is empty for one that cannot be opened and may be of
// any.
const (
	// torn are those that a snapshot without a lock may tear: their rows are in no transaction log.
	torn = "COALESCE(engine, '') NOT IN ('InnoDB', 'MRG_MyISAM', 'BLACKHOLE')"
	// loose are those of torn whose rows are on the volume, and in no transaction.
	loose = "COALESCE(engine, '') IN ('', 'MyISAM', 'Aria', 'CSV', 'ARCHIVE', 'Mroonga')"
)

// eachThat goes through the user's tables that a condition is true for, in no order.
func eachThat(ctx context.Context, q querier, condition string,
	take func(name tableName, engine string)) error {
	return each(ctx, q, "SELECT table_schema AS s, table_name AS n, engine AS e FROM "+
		"information_schema.tables WHERE table_type NOT LIKE '%VIEW' AND "+ofUser()+" AND "+
		condition, func(r row) error {
		take(tableName{r["s"], r["n"]}, r["e"])
		return nil
	})
}

// tablesThat are the first of the user's tables that a condition is true for, by name.
func tablesThat(ctx context.Context, q querier, condition string, most int) ([]tableName, error) {
	var all []tableName
	err := eachThat(ctx, q, condition, func(name tableName, _ string) {
		if len(all) < mostTables {
			all = append(all, name)
		}
	})
	slices.SortFunc(all, tableName.compare)
	return all[:min(len(all), most)], err
}

// remote is true for a table whose engine keeps its rows outside of the datadir, or is not known
// not to: a copy would read, and as a replica change, the rows of its source.
func (t table) remote() bool { return remoteEngine(t.engine) }

func remoteEngine(engine string) bool {
	return !slices.Contains([]string{"InnoDB", "MyISAM", "Aria", "MRG_MyISAM", "CSV", "ARCHIVE",
		"MEMORY", "BLACKHOLE", "ROCKSDB", "Mroonga", "OQGRAPH", ""}, engine)
}

// sequence is true for a sequence, whose next value is part of the inventory.
func (t table) sequence() bool { return t.kind == "SEQUENCE" }

// tornTables are the names of those that a snapshot without a lock may tear, and of those among
// them whose rows no copy has, and no start of the server keeps: a hundred of each at most.
func tornTables(ctx context.Context, q querier) (all, memory []string, err error) {
	const most = 100
	err = eachThat(ctx, q, torn, func(name tableName, engine string) {
		if len(all) < most {
			all = append(all, name.String())
		}
		if engine == "MEMORY" && len(memory) < most {
			memory = append(memory, name.String())
		}
	})
	slices.Sort(all)
	slices.Sort(memory)
	return all, memory, err
}
