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
