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
	// bytes is an estimate, where it was asked for.
	bytes int64
}

// ofUser is the condition that a schema is the user's.
func ofUser(schema string) string { return notAmong(schema, builtinSchemas+",'understudy'") }

// notAmong compares as the names are written: information_schema has a collation for which Sys, a
// schema of the user's, is sys.
func notAmong(schema, list string) string { return "BINARY " + schema + " NOT IN (" + list + ")" }

// tables is the one list of the user's tables, by name. Each purpose says what it does with each
// kind; the page docs/datadir.md has all of it in one table. Sizes cost a look into each table.
func tables(ctx context.Context, q querier, sizes bool) ([]table, error) {
	bytes := "0"
	if sizes {
		bytes = "COALESCE(data_length, 0)"
	}
	rows, err := query(ctx, q, "SELECT table_schema AS s, table_name AS n, table_type AS k, "+
		"engine AS e, "+bytes+" AS b FROM information_schema.tables "+
		"WHERE table_type NOT LIKE '%VIEW' AND "+ofUser("table_schema")+" ORDER BY 1, 2")
	if err != nil {
		return nil, err
	}
	all := make([]table, 0, len(rows))
	for _, r := range rows {
		all = append(all, table{tableName{r["s"], r["n"]}, r["k"], r["e"], r.number("b")})
	}
	return all, nil
}

// torn is true for a table that a snapshot without a lock may tear: one whose rows are in no
// transaction log. A table that cannot be opened may be any.
func (t table) torn() bool { return !slices.Contains([]string{"InnoDB"}, t.engine) && !t.empty() }

// empty is true for engines that keep no rows of their own.
func (t table) empty() bool {
	return slices.Contains([]string{"MRG_MyISAM", "BLACKHOLE"}, t.engine)
}

// remote is true for a table whose engine keeps its rows outside of the datadir, or is not known
// not to: a copy would read, and as a replica change, the rows of its source.
func (t table) remote() bool { return remoteEngine(t.engine) }

func remoteEngine(engine string) bool {
	return !slices.Contains([]string{"InnoDB", "MyISAM", "Aria", "MRG_MyISAM", "CSV", "ARCHIVE",
		"MEMORY", "BLACKHOLE", "ROCKSDB", "Mroonga", "OQGRAPH", ""}, engine)
}

// memory is true for a table whose rows no copy has, and no start of the server keeps.
func (t table) memory() bool { return t.engine == "MEMORY" }

// sequence is true for a sequence, whose next value is part of the inventory.
func (t table) sequence() bool { return t.kind == "SEQUENCE" }

// nonTransactionalTables names those that a snapshot without a lock may tear, a hundred at most.
func nonTransactionalTables(ctx context.Context, q querier) ([]string, error) {
	all, err := tables(ctx, q, false)
	return namesOf(all, table.torn), err
}

// namesOf are a hundred names at most.
func namesOf(all []table, which func(table) bool) []string {
	var names []string
	for _, t := range all {
		if which(t) && len(names) < 100 {
			names = append(names, t.String())
		}
	}
	return names
}
