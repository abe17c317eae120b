package mariadb

import (
	"context"
	"database/sql"
	"fmt"
)

// ShapeOf is what is known of a table before its rows are summed, as text.
func ShapeOf(ctx context.Context, conn *sql.Conn, schema, table string) (string, error) {
	shape, err := shapeOf(ctx, conn, tableName{schema, table})
	return fmt.Sprintf("%+v", shape), err
}

// Listed is all that is read of information_schema before a table is compared, as text.
func Listed(ctx context.Context, conn *sql.Conn, schema, table string) (string, error) {
	shape, err := ShapeOf(ctx, conn, schema, table)
	if err != nil {
		return "", err
	}
	all, err := tables(ctx, conn, false)
	if err != nil {
		return "", err
	}
	torn, _, err := tornTables(ctx, conn)
	if err != nil {
		return "", err
	}
	ids, err := tableIDs(ctx, conn)
	return fmt.Sprint(shape, all, torn, len(ids)), err
}

// Connector connects to MariaDB as the agent does.
var Connector = connector
