package store

import (
	"context"
	"time"
)

// rowsOf reads all rows of a query.
func rowsOf[R any](ctx context.Context, tx *Tx, scan func(scanner) (R, error), query string,
	args ...any) ([]R, error) {
	rows, err := tx.sql.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []R
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

func duration(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}
