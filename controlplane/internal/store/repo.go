package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// table says how one kind of record is kept: as a document, beside the columns that lists are
// narrowed by.
type table[R any] struct {
	name    string
	noun    string
	list    string   // the call that lists them
	key     string   // column of the key
	columns []string // beside key, rev and doc
	values  func(*R) []any
	meta    func(*R) meta
	seen    string // column of a time that moves without the record's rev; may be empty
}

// meta points at what every record has.
type meta struct {
	key              string
	rev              *int64
	created, updated *time.Time
	seen             *time.Time
}

// Repo keeps one kind of record.
type Repo[R any] struct {
	tx *Tx
	t  table[R]
}

// Get reads a record by its key, or answers inventory.ErrNotFound.
func (r Repo[R]) Get(ctx context.Context, key string) (R, error) {
	rec, err := r.scan(r.tx.sql.QueryRowContext(ctx, r.selectSQL()+" WHERE "+r.t.key+" = ?", key))
	if errors.Is(err, sql.ErrNoRows) {
		return rec, r.missing(key)
	}
	return rec, err
}

// All reads every record, by key.
func (r Repo[R]) All(ctx context.Context) ([]R, error) {
	return rowsOf(ctx, r.tx, r.scan, r.selectSQL()+" ORDER BY "+r.t.key)
}

// Named reads the records with these keys, by key; those that are not there are left out.
func (r Repo[R]) Named(ctx context.Context, keys []string) (map[string]R, error) {
	named := map[string]R{}
	if len(keys) == 0 {
		return named, nil
	}
	var args []any
	for _, key := range keys {
		args = append(args, key)
	}
	all, err := rowsOf(ctx, r.tx, r.scan,
		r.selectSQL()+" WHERE "+r.t.key+" IN ("+marks(len(keys))+")", args...)
	for _, rec := range all {
		named[r.t.meta(&rec).key] = rec
	}
	return named, err
}

// Insert adds a record and sets its Rev and times, or answers errs.AlreadyExists.
func (r Repo[R]) Insert(ctx context.Context, rec *R) error {
	fresh := *rec
	m := r.t.meta(&fresh)
	*m.rev, *m.created, *m.updated = 1, r.tx.now, r.tx.now
	doc, err := encoded(fresh)
	if err != nil {
		return err
	}
	query := insertSQL(r.t.name, r.t.key+", rev, doc"+prefixed(", ", r.t.columns))
	_, err = r.tx.exec(ctx, query, append([]any{m.key, *m.rev, doc}, r.t.values(&fresh)...)...)
	if r.tx.engine.duplicate(err) {
		return inventory.Taken(r.t.noun, m.key, "choose another name")
	}
	if err == nil {
		*rec = fresh
	}
	return err
}

// Update writes a record that was read in this transaction, and moves its Rev. When the record has
// changed since, it answers inventory.ErrStale, and Store.Write runs the transaction again.
func (r Repo[R]) Update(ctx context.Context, rec *R) error {
	fresh := *rec
	m := r.t.meta(&fresh)
	was := *m.rev
	*m.rev, *m.updated = was+1, r.tx.now
	doc, err := encoded(fresh)
	if err != nil {
		return err
	}
	query := "UPDATE " + r.t.name + " SET rev = ?, doc = ?" + assigned(r.t.columns) + " WHERE " +
		r.t.key + " = ? AND rev = ?"
	args := append([]any{*m.rev, doc}, r.t.values(&fresh)...)
	n, err := r.tx.exec(ctx, query, append(args, m.key, was)...)
	if err != nil {
		return err
	}
	if n == 0 {
		return r.notUpdated(ctx, m.key)
	}
	*rec = fresh
	return nil
}

func (r Repo[R]) notUpdated(ctx context.Context, key string) error {
	if _, err := r.Get(ctx, key); err != nil {
		return err
	}
	return inventory.Stale(r.t.noun, key)
}

// Delete removes a record, or answers inventory.ErrNotFound.
func (r Repo[R]) Delete(ctx context.Context, key string) error {
	n, err := r.tx.exec(ctx, "DELETE FROM "+r.t.name+" WHERE "+r.t.key+" = ?", key)
	if err == nil && n == 0 {
		return r.missing(key)
	}
	return err
}

func (r Repo[R]) missing(key string) error {
	return inventory.NotFound(errs.WithHint("name one that exists", errs.Call(r.t.list)),
		"there is no %s %s", r.t.noun, key)
}

func (r Repo[R]) selectSQL() string {
	seen := r.t.seen
	if seen == "" {
		seen = "0"
	}
	return "SELECT rev, doc, " + seen + " FROM " + r.t.name
}

func (r Repo[R]) scan(row scanner) (R, error) {
	var rec R
	var rev int64
	var seen time.Time
	if err := row.Scan(&rev, decoded{&rec}, moment{&seen}); err != nil {
		return rec, err
	}
	m := r.t.meta(&rec)
	*m.rev = rev
	if m.seen != nil {
		*m.seen = seen
	}
	return rec, nil
}

// list reads a page in the order of the keys.
func (r Repo[R]) list(ctx context.Context, filter any, where conditions,
	p Page) ([]R, string, error) {
	c, err := p.open(filter)
	if err != nil {
		return nil, "", err
	}
	if c.after != nil {
		where.add(r.t.key+" > ?", c.after.Key)
	}
	all, err := rowsOf(ctx, r.tx, r.scan, r.selectSQL()+where.where()+" ORDER BY "+r.t.key+
		c.limit(), where.args...)
	if err != nil {
		return nil, "", err
	}
	all, next := cut(c, all, func(rec R) (string, int64) { return r.t.meta(&rec).key, 0 })
	return all, next, nil
}

func prefixed(prefix string, columns []string) (s string) {
	for _, c := range columns {
		s += prefix + c
	}
	return s
}

func assigned(columns []string) (s string) {
	for _, c := range columns {
		s += ", " + c + " = ?"
	}
	return s
}
