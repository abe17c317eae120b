package mariadb

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// querier is a connection, or the pool.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// row is one row by lower-case column name; a NULL is absent.
type row map[string]string

// number is a column as a number; 0 when it is not one.
func (r row) number(column string) int64 {
	n, err := strconv.ParseInt(r[column], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// yes is a column as a flag.
func (r row) yes(column string) bool {
	switch strings.ToUpper(r[column]) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// query reads all rows of any shape: SHOW statements differ between versions.
func query(ctx context.Context, q querier, statement string, args ...any) ([]row, error) {
	var all []row
	if err := each(ctx, q, statement, func(r row) error {
		all = append(all, r)
		return tooMany(len(all), mostListed, "rows of one kind")
	}, args...); err != nil {
		return nil, err
	}
	return all, nil
}

// mostListed are read at once as maps, which take ten times their size. Whoever may create
// something in the database may create any number of it.
const mostListed = 100_000

// tooMany refuses what takes more memory than the agent has a share of. What is not looked at
// proves nothing: a list that was cut would pass for a whole one.
func tooMany(count, most int, what string) error {
	if count <= most {
		return nil
	}
	return unsafe(errorsv1.Reason_REASON_TOO_MANY_OBJECTS,
		fmt.Sprintf("MariaDB has more than %d %s, which are not looked at", most, what),
		errs.WithHint("drop what is not needed, or move schemas to another server, then call "+
			"again"))
}

// each reads rows one by one, until take fails.
func each(ctx context.Context, q querier, statement string, take func(row) error,
	args ...any) error {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return fmt.Errorf("cannot read columns: %w", err)
	}
	for rows.Next() {
		r, err := scan(rows, columns)
		if err == nil {
			err = take(r)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

func scan(rows *sql.Rows, columns []string) (row, error) {
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, fmt.Errorf("cannot read a row: %w", err)
	}
	r := make(row, len(columns))
	for i, column := range columns {
		if values[i].Valid {
			r[strings.ToLower(column)] = values[i].String
		}
	}
	return r, nil
}

// column is the first column of all rows; NULL is left out.
func column(ctx context.Context, q querier, statement string) ([]string, error) {
	rows, err := query(ctx, q, statement)
	var all []string
	for _, r := range rows {
		for _, value := range r {
			all = append(all, value)
		}
	}
	return all, err
}

// one is the first row, or an empty one.
func one(ctx context.Context, q querier, statement string, args ...any) (row, error) {
	all, err := query(ctx, q, statement, args...)
	if err != nil || len(all) == 0 {
		return row{}, err
	}
	return all[0], nil
}

// variables are global variables by name; one that this version does not have is absent.
func variables(ctx context.Context, q querier, names ...string) (row, error) {
	marks := strings.TrimSuffix(strings.Repeat("?,", len(names)), ",")
	args := make([]any, len(names))
	for i, name := range names {
		args[i] = name
	}
	all, err := query(ctx, q, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+marks+")", args...)
	if err != nil {
		return nil, err
	}
	found := row{}
	for _, r := range all {
		found[strings.ToLower(r["variable_name"])] = r["value"]
	}
	return found, nil
}

func execute(ctx context.Context, q querier, statement string) error {
	_, err := q.ExecContext(ctx, statement)
	return err
}

// pinned is a connection of one's own, for what lives in a session. It is closed, not pooled, by
// done: settings of the session end with it.
func (s *Server) pinned(ctx context.Context) (conn *sql.Conn, done func(), err error) {
	conn, err = s.db.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		_ = conn.Raw(func(any) error { return errSessionOver })
		conn.Close()
	}
	return conn, done, nil
}

// quietly are settings of a session whose statements must be in no log: they have secrets, or the
// log may not be writable.
func quietly() []string {
	return []string{"SET SESSION sql_log_off = 1", "SET SESSION slow_query_log = 0"}
}

// unlogged runs a statement with a secret in it: MariaDB's general log and the history of the
// Performance Schema would have it word for word.
func (s *Server) unlogged(ctx context.Context, statement string) error {
	conn, done, err := s.pinned(ctx)
	if err != nil {
		return err
	}
	defer done()
	for _, quiet := range append(quietly(), unobserved) {
		if err := execute(ctx, conn, quiet); err != nil {
			return err
		}
	}
	return execute(ctx, conn, statement)
}

// unobserved takes a session out of the Performance Schema. It writes nothing into the binary log,
// and changes no row where the schema is off.
const unobserved = "UPDATE performance_schema.threads SET INSTRUMENTED = 'NO' " +
	"WHERE PROCESSLIST_ID = CONNECTION_ID()"

// answers proves that MariaDB answers a query now; nothing else is sent to it before that.
func (s *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := one(ctx, s.db, "SELECT 1")
	return err
}

// require is answers for changing calls.
func (s *Server) require(ctx context.Context, what string) error {
	if err := s.answers(ctx); err != nil {
		return down(what, err)
	}
	return nil
}

// change makes one change at a time of a MariaDB that answers. Its error says what could not be
// done.
func (s *Server) change(ctx context.Context, what string, how func() error) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.require(ctx, what); err != nil {
		return err
	}
	return failure(what, how())
}
