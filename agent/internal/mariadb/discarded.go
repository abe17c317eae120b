package mariadb

import (
	"context"
	"fmt"
	"slices"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// errDiscarded says that a table's tablespace was discarded: nothing has its rows, until one is
// imported.
const errDiscarded = 1814

// unfitDiscarded is why such a table has no sum.
const unfitDiscarded = "its tablespace is discarded: it has no rows until one is imported"

// spaceless are the names of files of InnoDB's tables without an open tablespace, in hexadecimal:
// those that were discarded, and those that nobody opened since the start. No table of InnoDB's
// tells them apart.
func spaceless(ctx context.Context, q querier) (map[string]bool, error) {
	open := map[string]bool{}
	if err := each(ctx, q, "SELECT space AS s FROM information_schema.innodb_sys_tablespaces",
		func(r row) error {
			open[r["s"]] = true
			return tooMany(len(open), 10*mostTables, "tablespaces of InnoDB")
		}); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	err := each(ctx, q, "SELECT "+filesOfInnoDB+" AS f, space AS s FROM "+
		"information_schema.innodb_sys_tables WHERE space_type = 'Single'", func(r row) error {
		if !open[r["s"]] {
			found[r["f"]] = true
		}
		return tooMany(len(found), 2*mostTables, "tables of InnoDB")
	})
	return found, err
}

// isDiscarded reads a row, by whatever index: it costs a primary no more than to open the table.
func isDiscarded(ctx context.Context, q querier, name tableName) error {
	_, err := one(ctx, q, "SET STATEMENT max_statement_time = 1 FOR SELECT 1 FROM "+name.sql()+
		" LIMIT 1")
	if err != nil && errno(err) != errDiscarded && ofOneObject(err) {
		return nil // it says nothing of that
	}
	return err
}

// imported refuses a server with discarded tablespaces. A copy would have no rows either, and the
// IMPORT TABLESPACE of its primary would stop its replication: nobody gives it the file.
func imported(ctx context.Context, q querier) error {
	suspects, err := spaceless(ctx, q)
	if err != nil || len(suspects) == 0 {
		return err
	}
	var names []tableName
	if err := each(ctx, q, "SELECT table_schema AS s, table_name AS n, "+filesOfTable+" AS f FROM "+
		"information_schema.tables WHERE table_type NOT LIKE '%VIEW'", func(r row) error {
		if suspects[r["f"]] {
			names = append(names, tableName{r["s"], r["n"]})
		}
		return nil
	}); err != nil {
		return err
	}
	slices.SortFunc(names, tableName.compare)
	var found []Stray
	for _, name := range names {
		err := isDiscarded(ctx, q, name)
		if errno(err) == errDiscarded {
			found = append(found, Stray{name.String(), "table"})
		} else if err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return nil
	}
	return unsafe(errorsv1.Reason_REASON_FILES_ELSEWHERE, fmt.Sprintf("cannot copy MariaDB: "+
		"tablespaces were discarded, and it has no file with the rows: %s", listed(found)),
		errs.WithHint("import them (ALTER TABLE ... IMPORT TABLESPACE), or drop the tables, then "+
			"ask again"))
}
