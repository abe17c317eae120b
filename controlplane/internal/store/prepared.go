package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// maxPrepared bounds what a connection keeps. The store has some hundred texts, and more where a
// list has many filters or keys.
const maxPrepared = 256

// preparing opens connections that keep the statements they ran. The driver of SQLite parses a
// statement each time it runs, which takes longer than to run one that finds a record by its key.
type preparing struct{ driver.Connector }

// Connect implements driver.Connector.
func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	conn, ok := opened.(conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T cannot keep statements", opened), opened.Close())
	}
	return &prepared{conn: conn, idle: map[string]stmt{}}, nil
}

// conn is what database/sql uses of a connection.
type conn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type stmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// prepared is a connection that keeps statements by their text. database/sql uses a connection and
// its rows one call at a time. SQLite prepares a statement again when the schema has changed.
type prepared struct {
	conn
	idle map[string]stmt
}

// ExecContext implements driver.ExecerContext.
func (p *prepared) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (
	driver.Result, error) {
	s, err := p.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	return result, p.giveBack(query, s, err)
}

// QueryContext implements driver.QueryerContext.
func (p *prepared) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (
	driver.Rows, error) {
	s, err := p.take(ctx, query)
	if err != nil {
		return nil, err
	}
	found, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, p.giveBack(query, s, err)
	}
	return &rows{Rows: found, done: func(err error) error {
		return p.giveBack(query, s, err)
	}}, nil
}

// take is a statement for one caller until it is given back: whoever runs the same text while its
// rows are open gets another.
func (p *prepared) take(ctx context.Context, query string) (stmt, error) {
	if s, ok := p.idle[query]; ok {
		delete(p.idle, query)
		return s, nil
	}
	made, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s, ok := made.(stmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T cannot be kept", made), made.Close())
	}
	return s, nil
}

// giveBack keeps a statement that ran. One that failed is not run again, and its error is returned
// as it is.
func (p *prepared) giveBack(query string, s stmt, failed error) error {
	if failed != nil {
		_ = s.Close()
		return failed
	}
	if _, twice := p.idle[query]; twice {
		return s.Close()
	}
	if len(p.idle) >= maxPrepared {
		if err := p.forget(); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	p.idle[query] = s
	return nil
}

func (p *prepared) forget() (err error) {
	for _, s := range p.idle {
		err = errors.Join(err, s.Close())
	}
	clear(p.idle)
	return err
}

// Close implements driver.Conn: SQLite closes its file when no statement is left.
func (p *prepared) Close() error { return errors.Join(p.forget(), p.conn.Close()) }

// rows gives its statement back at its end.
type rows struct {
	driver.Rows
	done func(error) error
}

// Close implements driver.Rows.
func (r *rows) Close() error { return r.done(r.Rows.Close()) }
