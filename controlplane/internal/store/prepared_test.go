package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"modernc.org/sqlite"
)

// counting says how often its connections parsed a statement.
type counting struct {
	driver.Connector
	parsed *int
}

func (c counting) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &countingConn{conn: opened.(conn), parsed: c.parsed}, nil
}

type countingConn struct {
	conn
	parsed *int
}

func (c *countingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	*c.parsed++
	return c.conn.PrepareContext(ctx, query)
}

type preparedDB struct {
	t *testing.T
	*sql.Conn
	path   string
	parsed int
	close  func()
}

func openPrepared(t *testing.T) *preparedDB {
	t.Helper()
	p := &preparedDB{t: t, path: filepath.Join(t.TempDir(), "u.db")}
	base, err := sqlite.NewConnector("file:" + p.path + "?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(preparing{counting{base, &p.parsed}})
	if p.Conn, err = db.Conn(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.close = func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	p.exec("CREATE TABLE a (id INTEGER PRIMARY KEY)")
	for i := range 3 {
		p.exec("INSERT INTO a VALUES (?)", i)
	}
	return p
}

func (p *preparedDB) exec(query string, args ...any) {
	p.t.Helper()
	if _, err := p.ExecContext(p.t.Context(), query, args...); err != nil {
		p.t.Fatal(err)
	}
}

// columns reads all rows, each of which runs the query again when it is deeper than one, and says
// how many columns they have.
func (p *preparedDB) columns(query string, depth int) (n int) {
	p.t.Helper()
	found, err := p.QueryContext(p.t.Context(), query)
	if err != nil {
		p.t.Fatal(err)
	}
	defer found.Close()
	seen := 0
	for ; found.Next(); seen++ {
		names, err := found.Columns()
		if err != nil {
			p.t.Fatal(err)
		}
		if n = len(names); depth > 1 {
			p.columns(query, depth-1)
		}
	}
	if err := found.Err(); err != nil || seen != 3 {
		p.t.Errorf("%d rows, %v", seen, err)
	}
	return n
}

func TestAStatementIsParsedOnce(t *testing.T) {
	t.Parallel()
	p := openPrepared(t)
	defer p.close()
	for range 5 {
		p.columns("SELECT * FROM a", 1)
	}
	if p.parsed != 3 { // CREATE, INSERT, SELECT
		t.Errorf("parsed %d times, want 3", p.parsed)
	}
}

func TestAStatementRunsWhileItsRowsAreOpen(t *testing.T) {
	t.Parallel()
	p := openPrepared(t)
	defer p.close()
	for range 2 {
		p.columns("SELECT * FROM a", 3)
	}
}

func TestAKeptStatementSeesTheNewSchema(t *testing.T) {
	t.Parallel()
	p := openPrepared(t)
	defer p.close()
	if n := p.columns("SELECT * FROM a", 1); n != 1 {
		t.Errorf("%d columns before", n)
	}
	p.exec("ALTER TABLE a ADD COLUMN b TEXT")
	if n := p.columns("SELECT * FROM a", 1); n != 2 {
		t.Errorf("%d columns after", n)
	}
}

func TestAStatementThatFailedIsParsedAgain(t *testing.T) {
	t.Parallel()
	p := openPrepared(t)
	defer p.close()
	const insert = "INSERT INTO a VALUES (?)"
	_, err := p.ExecContext(t.Context(), insert, 1)
	if !(sqliteEngine{}).duplicate(err) {
		t.Errorf("a second row of that key: %v", err)
	}
	before := p.parsed
	p.exec(insert, 7)
	if p.parsed != before+1 {
		t.Errorf("parsed %d times", p.parsed-before)
	}
}

func TestAConnectionKeepsABoundedNumberOfStatements(t *testing.T) {
	t.Parallel()
	p := openPrepared(t)
	defer p.close()
	for i := range 3 * maxPrepared {
		p.columns(fmt.Sprintf("SELECT *, %d FROM a", i), 1)
		err := p.Raw(func(conn any) error {
			if n := len(conn.(*prepared).idle); n > maxPrepared {
				return fmt.Errorf("%d statements", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// SQLite keeps a file open, and its log beside it, while a statement is left.
func TestAClosedConnectionLeavesNoStatement(t *testing.T) {
	t.Parallel()
	p := openPrepared(t)
	p.columns("SELECT * FROM a", 2)
	p.close()
	if left, err := os.ReadDir(filepath.Dir(p.path)); err != nil || len(left) != 1 {
		t.Errorf("left: %v %v", left, err)
	}
}
