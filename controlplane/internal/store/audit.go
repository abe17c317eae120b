package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// Audit keeps the chains of the audit.
type Audit struct{ tx *Tx }

// Audit gives the chains of the audit.
func (tx *Tx) Audit() Audit { return Audit{tx: tx} }

// AuditRow is a record as it is kept.
type AuditRow struct {
	audit.Line
	Seq  int64
	Seal string
	// Filed are the columns that a search reads.
	Filed Filed
}

// Filed is what a search finds a record by.
type Filed struct {
	At                int64
	Kind, Who, Method string
	Of                int64
}

// FiledAs is how a record is filed.
func FiledAs(r audit.Record) Filed {
	return Filed{At: millis(r.Time), Kind: short(string(r.Kind), 16),
		Who: short(r.Who, longestAuditName), Method: short(r.Method, longestAuditName), Of: r.Of}
}

// AuditFilter narrows a list of records. Zero fields do not narrow.
type AuditFilter struct {
	Chain  string
	Who    string
	Method string    // what the method's name contains
	After  time.Time // this time included
	Before time.Time // this time excluded
}

const auditColumns = "seq, hash, seal, body, at, kind, who, method, of_seq"

// longestAuditName bounds what another host says in a column.
const longestAuditName = 255

// Append makes a record the last one of the chain, and answers with the one before it as well.
// Other transactions that append to it wait until this one ends.
func (a Audit) Append(ctx context.Context, chain string, r audit.Record,
	seal func(hash string) string) (before, head audit.Head, err error) {
	if before, err = a.Lock(ctx, chain); err != nil {
		return before, head, err
	}
	line, head, err := audit.Link(before, r)
	if err != nil {
		return before, head, err
	}
	return before, head, a.Insert(ctx, chain, head, line, r, seal(line.Hash))
}

// Lock is the head of the chain, which no other transaction moves before this one ends.
func (a Audit) Lock(ctx context.Context, chain string) (audit.Head, error) {
	const touch = "UPDATE audit_heads SET seq = seq WHERE chain = ?"
	n, err := a.tx.exec(ctx, touch, chain)
	if err == nil && n == 0 {
		_, err = a.tx.exec(ctx, insertSQL("audit_heads", "chain, seq, hash"), chain, 0,
			audit.Origin(chain).Hash)
		if a.tx.engine.duplicate(err) { // another transaction made it: run this one again
			return audit.Head{}, inventory.Stale("audit", chain)
		}
	}
	if err != nil {
		return audit.Head{}, err
	}
	return a.Head(ctx, chain)
}

// Insert makes a line, with what it says, the newest of a chain that is locked. What another host
// wrote may say anything.
func (a Audit) Insert(ctx context.Context, chain string, head audit.Head, line audit.Line,
	r audit.Record, seal string) error {
	filed := FiledAs(r)
	_, err := a.tx.exec(ctx, insertSQL("audit_records", "chain, seq, at, kind, who, method, "+
		"of_seq, hash, seal, body"), chain, head.Seq, filed.At, filed.Kind, filed.Who,
		filed.Method, filed.Of, line.Hash, seal, string(line.Record))
	if err != nil {
		return err
	}
	_, err = a.tx.exec(ctx, "UPDATE audit_heads SET seq = ?, hash = ? WHERE chain = ?", head.Seq,
		head.Hash, chain)
	return err
}

func short(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// Head is the last record of a chain; its origin when it has none.
func (a Audit) Head(ctx context.Context, chain string) (audit.Head, error) {
	heads, err := rowsOf(ctx, a.tx, func(row scanner) (h audit.Head, err error) {
		err = row.Scan(&h.Seq, &h.Hash)
		return h, err
	}, "SELECT seq, hash FROM audit_heads WHERE chain = ?", chain)
	if err != nil || len(heads) == 0 {
		return audit.Origin(chain), err
	}
	return heads[0], nil
}

// Chains are the names of all chains.
func (a Audit) Chains(ctx context.Context) ([]string, error) {
	return rowsOf(ctx, a.tx, scanText, "SELECT chain FROM audit_heads ORDER BY chain")
}

// After reads the next records of a chain, oldest first.
func (a Audit) After(ctx context.Context, chain string, seq int64, most int) ([]AuditRow, error) {
	return rowsOf(ctx, a.tx, scanAudit, "SELECT "+auditColumns+" FROM audit_records WHERE "+
		"chain = ? AND seq > ? ORDER BY seq LIMIT ?", chain, seq, most)
}

// List reads a page of calls, newest first, and the token of the next page. Their outcomes are
// read by Ends.
func (a Audit) List(ctx context.Context, f AuditFilter, p Page) ([]AuditRow, string, error) {
	c, err := p.open(f)
	if err != nil {
		return nil, "", err
	}
	var where conditions
	where.equal("chain", f.Chain)
	where.add("kind <> ?", string(audit.End))
	where.equal("who", f.Who)
	where.contains("method", f.Method)
	where.within("at", f.After, f.Before)
	if c.after != nil {
		where.add("seq < ?", c.after.At)
	}
	list, err := rowsOf(ctx, a.tx, scanAudit, "SELECT "+auditColumns+" FROM audit_records"+
		where.where()+" ORDER BY seq DESC"+c.limit(), where.args...)
	list, next := cut(c, list, func(r AuditRow) (string, int64) { return "", r.Seq })
	return list, next, err
}

// Ends reads the outcomes of the calls that began with these records.
func (a Audit) Ends(ctx context.Context, chain string, begins []int64) ([]AuditRow, error) {
	if len(begins) == 0 {
		return nil, nil
	}
	var where conditions
	where.equal("chain", chain)
	in(&where, "of_seq", begins)
	return rowsOf(ctx, a.tx, scanAudit, "SELECT "+auditColumns+" FROM audit_records"+
		where.where(), where.args...)
}

// OlderThan is the last of the first records of a chain that are all older than that time; Seq is 0
// when there is none. The chain's last record is never one of them.
func (a Audit) OlderThan(ctx context.Context, chain string, at time.Time) (audit.Head, error) {
	rows, err := rowsOf(ctx, a.tx, scanAudit, "SELECT "+auditColumns+" FROM audit_records WHERE "+
		"chain = ? AND seq < COALESCE((SELECT MIN(seq) FROM audit_records WHERE chain = ? AND "+
		"at >= ?), (SELECT MAX(seq) FROM audit_records WHERE chain = ?)) ORDER BY seq DESC LIMIT 1",
		chain, chain, millis(at), chain)
	if err != nil || len(rows) == 0 {
		return audit.Head{}, err
	}
	return audit.Head{Seq: rows[0].Seq, Hash: rows[0].Hash}, nil
}

// DeleteThrough removes some of the oldest records of a chain up to that one, and says how many.
func (a Audit) DeleteThrough(ctx context.Context, chain string, seq int64) (int64, error) {
	rows, err := a.After(ctx, chain, 0, pruneBatch)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return a.tx.exec(ctx, "DELETE FROM audit_records WHERE chain = ? AND seq <= ?", chain,
		min(seq, rows[len(rows)-1].Seq))
}

func scanAudit(row scanner) (r AuditRow, err error) {
	var body string
	err = row.Scan(&r.Seq, &r.Hash, &r.Seal, &body, &r.Filed.At, &r.Filed.Kind, &r.Filed.Who,
		&r.Filed.Method, &r.Filed.Of)
	r.Record = json.RawMessage(body)
	return r, err
}
