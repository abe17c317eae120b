package store

import (
	"context"
	"database/sql"
)

// statements is what a transaction runs; *sql.Tx is one.
type statements interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// traced shows each statement before it runs.
type traced struct {
	statements
	show func(query string)
}

// ExecContext implements statements.
func (t traced) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	t.show(query)
	return t.statements.ExecContext(ctx, query, args...)
}

// QueryContext implements statements.
func (t traced) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	t.show(query)
	return t.statements.QueryContext(ctx, query, args...)
}

// QueryRowContext implements statements.
func (t traced) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	t.show(query)
	return t.statements.QueryRowContext(ctx, query, args...)
}

// statements is the transaction, with the trace if one is configured.
func (s *Store) statements(tx *sql.Tx) statements {
	if s.trace == nil {
		return tx
	}
	return traced{tx, s.trace}
}
