// Package trail is the audit of the control plane: its chain in the store, the notes of it outside
// the store, its verification and its end of life. docs/audit.md says why.
package trail

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// Chain is the name of the control plane's own chain.
const Chain = audit.ControlPlane

// Config is what a Trail needs; Logger alone has a default.
type Config struct {
	// Store keeps the records.
	Store *store.Store
	// Key seals records, and hashes secrets.
	Key audit.Key
	// Notes is the file that says how far the chain was, outside the store.
	Notes string
	// Logger is told of a chain that was changed; default slog.Default().
	Logger *slog.Logger
}

// Trail is the control plane's chain.
type Trail struct {
	Config
	mu sync.Mutex
	// known is the newest record that this process wrote.
	known audit.Head
	// lost is the newest one that the store does not have any more, which it was when the next one
	// was appended.
	lost audit.Head
}

// New makes a Trail.
func New(config Config) (*Trail, error) {
	if config.Store == nil || len(config.Key) == 0 || config.Notes == "" {
		return nil, errors.New("cannot make the audit: a store, a key and a file are needed")
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return &Trail{Config: config}, nil
}

// Append makes the record the next one of the chain. Several control planes on one store append to
// the same one.
func (t *Trail) Append(ctx context.Context, r audit.Record) (int64, error) {
	r.Time = r.Time.UTC().Truncate(time.Millisecond)
	known, _ := t.newest() // before the chain is locked: others append meanwhile
	var before, head audit.Head
	err := t.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		before, head, err = tx.Audit().Append(ctx, Chain, r, t.seal)
		return err
	})
	if err != nil {
		return 0, err
	}
	t.wrote(known, before, head)
	return head.Seq, nil
}

func (t *Trail) seal(hash string) string { return t.Key.Seal(Chain, hash) }

// wrote remembers the newest record, and one that was known before the record was appended and that
// the chain does not have.
func (t *Trail) wrote(known, before, head audit.Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	cut := before.Seq < known.Seq || before.Seq == known.Seq && before.Hash != known.Hash
	if known.Seq > 0 && cut && known.Seq > t.lost.Seq {
		t.lost = known
		t.sayChanged(known, before)
	}
	if head.Seq > t.known.Seq || cut {
		t.known = head
	}
}

// newest are the newest record that this process wrote, and one that is lost.
func (t *Trail) newest() (known, lost audit.Head) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known, t.lost
}

func (t *Trail) sayChanged(noted, found audit.Head) {
	t.Logger.Error("the audit in the store is not what was written: run `understudy audit verify`",
		"noted", noted.Seq, "found", found.Seq)
}

// Records reads a page of calls, newest first, with the outcomes of those that have one, and the
// token of the next page.
func (t *Trail) Records(ctx context.Context, filter store.AuditFilter, size int,
	token string) (calls []Entry, next string, err error) {
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, after, err := tx.Audit().List(ctx, filter, store.Page{Size: size, Token: token})
		if err != nil {
			return err
		}
		next = after
		calls, err = entries(ctx, tx, filter.Chain, rows)
		return err
	})
	return calls, next, err
}

// Entry is a record, with that of the call's outcome.
type Entry struct {
	audit.Record
	// Done is the outcome; nil when there is none, or the record has it itself.
	Done *audit.Record
}

func entries(ctx context.Context, tx *store.Tx, chain string,
	rows []store.AuditRow) ([]Entry, error) {
	var all []Entry
	var begins []int64
	for _, row := range rows {
		r, err := row.Read()
		if err != nil { // what verification says
			r = audit.Record{Seq: row.Seq, Error: "the record cannot be read"}
		}
		all = append(all, Entry{Record: r})
		if r.Kind == audit.Begin {
			begins = append(begins, r.Seq)
		}
	}
	ends, err := tx.Audit().Ends(ctx, chain, begins)
	if err != nil {
		return nil, err
	}
	of := map[int64]*audit.Record{}
	for _, row := range ends {
		if r, err := row.Read(); err == nil {
			of[r.Of] = &r
		}
	}
	for i := range all {
		if all[i].Kind == audit.Begin {
			all[i].Done = of[all[i].Seq]
		}
	}
	return all, nil
}

// Lines reads the next records of a chain, oldest first.
func (t *Trail) Lines(ctx context.Context, chain string, after int64,
	most int) (lines []audit.Line, last int64, err error) {
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Audit().After(ctx, chain, after, most)
		lines, last = nil, after
		for _, row := range rows {
			lines, last = append(lines, row.Line), row.Seq
		}
		return err
	})
	return lines, last, err
}
