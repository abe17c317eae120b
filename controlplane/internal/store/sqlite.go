package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

const readConns = 4

// openSQLite opens one connection that writes, so that writers of this process queue up without
// polling the file's lock, and a few that read beside it.
func (s *Store) openSQLite(path string) error {
	s.engine = sqliteEngine{}
	// before SQLite makes it readable to others
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if s.writers, err = sqliteDB(path, 1, "&_txlock=immediate"); err != nil {
		return err
	}
	s.schema = s.writers
	s.readers, err = sqliteDB(path, readConns, "&_pragma=query_only(1)")
	return err
}

func sqliteDB(path string, conns int, more string) (*sql.DB, error) {
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" + more
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db := sql.OpenDB(preparing{connector})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

type sqliteEngine struct{}

func (sqliteEngine) code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return lib.SQLITE_OK
}

func (s sqliteEngine) again(err error) bool {
	primary := s.code(err) & 0xff
	return primary == lib.SQLITE_BUSY || primary == lib.SQLITE_LOCKED
}

func (s sqliteEngine) passing(err error) bool {
	switch s.code(err) & 0xff {
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_NOMEM,
		lib.SQLITE_READONLY:
		return true
	}
	return false
}

// damaged is for a file that is none of SQLite's, or not whole.
func damaged(err error) bool {
	switch (sqliteEngine{}).code(err) & 0xff {
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return true
	}
	return false
}

func (s sqliteEngine) duplicate(err error) bool {
	code := s.code(err)
	return code == lib.SQLITE_CONSTRAINT_PRIMARYKEY || code == lib.SQLITE_CONSTRAINT_UNIQUE
}

// immediate, from the connection's settings
func (sqliteEngine) writeOptions() *sql.TxOptions { return nil }

func (sqliteEngine) readOptions() *sql.TxOptions { return nil }

func (sqliteEngine) sizeQuery() string {
	return "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
}
