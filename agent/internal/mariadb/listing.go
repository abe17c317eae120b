package mariadb

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Table is a table of the user's, with its rows and bytes as the engine estimates them.
type Table struct {
	Name        string
	Rows, Bytes int64
	// Created is when it was made, in MariaDB's words, and for InnoDB the ids of what has its rows:
	// a partition that is exchanged takes its id along. It is empty where the engine does not say.
	Created string
}

// Tables is a page of at most 1000 tables with rows of their own, by name. The first page lists all
// tables, and those behind it are of that list, or of a later one: each list opens every table, so
// that one for each page would cost the square of their number.
func (s *Server) Tables(ctx context.Context, after string) ([]Table, error) {
	const what = "cannot list tables"
	if err := s.require(ctx, what); err != nil {
		return nil, err
	}
	if after != "" {
		if page, listed := s.listed.page(after); listed {
			return page, nil
		}
	}
	all, err := listTables(ctx, s.db)
	if err != nil {
		return nil, failure(what, err)
	}
	s.listed.keep(all)
	page, _ := pageOf(all, after)
	return page, nil
}

const (
	// tablesAtOnce is how many a page has.
	tablesAtOnce = 1000
	// listingAge is how long a list is kept for who reads its next page.
	listingAge = time.Minute
)

// tableList is the latest list of all tables, read page by page. Its zero value has none.
type tableList struct {
	mu   sync.Mutex
	all  []Table
	over *time.Timer
}

func (l *tableList) keep(all []Table) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over != nil {
		l.over.Stop()
	}
	l.all = all
	l.over = time.AfterFunc(listingAge, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = nil
	})
}

// page is the one behind a name; false when no list is kept.
func (l *tableList) page(after string) ([]Table, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return pageOf(l.all, after)
}

// pageOf is a page of a list; false of none.
func pageOf(all []Table, after string) ([]Table, bool) {
	from, is := slices.BinarySearchFunc(all, after,
		func(t Table, name string) int { return cmp.Compare(t.Name, name) })
	if is {
		from++
	}
	return slices.Clone(all[from:min(from+tablesAtOnce, len(all))]), all != nil
}

// listTables are all tables with rows of their own, by name.
func listTables(ctx context.Context, q querier) ([]Table, error) {
	ids, err := tableIDs(ctx, q)
	if err != nil {
		return nil, err
	}
	all := []Table{}
	err = each(ctx, q, "SELECT table_schema AS s, table_name AS n, "+
		"COALESCE(table_rows, 0) AS r, COALESCE(data_length, 0) AS b, "+
		"COALESCE(UNIX_TIMESTAMP(create_time), '') AS c, "+filesOfTable+" AS f FROM "+
		"information_schema.tables WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND "+
		ofUser(), func(r row) error {
		all = append(all, Table{tableName{r["s"], r["n"]}.String(), r.number("r"), r.number("b"),
			strings.TrimSpace(r["c"] + " " + ids[r["f"]])})
		return tooMany(len(all), mostTables, "tables")
	})
	slices.SortFunc(all, func(a, b Table) int { return cmp.Compare(a.Name, b.Name) })
	return all, err
}

// filesOfTable is the name of a table's files in hexadecimal, and filesOfInnoDB that of InnoDB's
// table, or of the whole that its partition belongs to.
const (
	filesOfTable = "HEX(CONCAT(CAST(CONVERT(table_schema USING filename) AS BINARY), '/', " +
		"CAST(CONVERT(table_name USING filename) AS BINARY)))"
	filesOfInnoDB = "HEX(SUBSTRING_INDEX(SUBSTRING_INDEX(CAST(name AS BINARY), '#P#', 1), " +
		"'#p#', 1))"
)

// tableIDs are a sum of InnoDB's ids of each table and its partitions, by the name of its files
// in hexadecimal.
func tableIDs(ctx context.Context, q querier) (map[string]string, error) {
	sums := map[string]uint64{}
	err := each(ctx, q, "SELECT "+filesOfInnoDB+" AS f, table_id AS id FROM "+
		"information_schema.innodb_sys_tables", func(r row) error {
		id := fnv.New64a()
		_, _ = id.Write([]byte(r["id"]))
		sums[r["f"]] += id.Sum64()
		return tooMany(len(sums), 2*mostTables, "tables of InnoDB")
	})
	ids := make(map[string]string, len(sums))
	for file, sum := range sums {
		ids[file] = strconv.FormatUint(sum, 16)
	}
	return ids, err
}
