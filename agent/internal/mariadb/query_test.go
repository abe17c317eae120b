package mariadb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strconv"
	"testing"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// endless answers every statement with rows, until somebody stops reading.
type endless struct{ row int }

func (e *endless) Connect(context.Context) (driver.Conn, error) { return e, nil }
func (e *endless) Driver() driver.Driver                        { return nil }
func (e *endless) Prepare(string) (driver.Stmt, error)          { return e, nil }
func (e *endless) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
func (e *endless) Close() error                                 { return nil }
func (e *endless) NumInput() int                                { return 0 }
func (e *endless) Exec([]driver.Value) (driver.Result, error)   { return nil, driver.ErrSkip }
func (e *endless) Query([]driver.Value) (driver.Rows, error)    { e.row = 0; return e, nil }
func (e *endless) Columns() []string                            { return []string{"s", "n", "f"} }

func (e *endless) Next(into []driver.Value) error {
	e.row++
	into[0], into[1], into[2] = "app", "t", strconv.Itoa(e.row)
	return nil
}

// TestAListWithoutEndIsRefused: who may create a table, an account or a routine may create as many
// as they like.
func TestAListWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	e := &endless{}
	db := sql.OpenDB(e)
	for name, c := range map[string]struct {
		most int
		read func() error
	}{
		"rows": {mostListed, func() error {
			_, err := query(t.Context(), db, "SHOW ALL")
			return err
		}},
		"tables": {mostTables, func() error {
			_, err := tables(t.Context(), db, false)
			return err
		}},
		"ids of tables": {2 * mostTables, func() error {
			_, err := listTables(t.Context(), db)
			return err
		}},
	} {
		err := c.read()
		if errs.ReasonOf(err) != errorsv1.Reason_REASON_TOO_MANY_OBJECTS ||
			e.row != c.most+1 {
			t.Errorf("%s: after %d of %d: %v", name, e.row, c.most, err)
		}
	}
}
