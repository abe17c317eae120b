package trail

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// Prune removes the records of all chains from before that time, and says how many. The control
// plane's own chain says so before the first of them goes; a crash meanwhile leaves some to the
// next time.
func (t *Trail) Prune(ctx context.Context, before time.Time) (removed int64, err error) {
	var chains []string
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		chains, err = tx.Audit().Chains(ctx)
		return err
	})
	for _, chain := range chains {
		n, failed := t.prune(ctx, chain, before)
		removed, err = removed+n, errors.Join(err, failed)
	}
	return removed, err
}

func (t *Trail) prune(ctx context.Context, chain string, before time.Time) (removed int64,
	err error) {
	through, err := t.sayPruned(ctx, chain, before)
	if err != nil || through.Seq == 0 {
		return 0, err
	}
	for {
		var n int64
		err := t.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.Audit().DeleteThrough(ctx, chain, through.Seq)
			return err
		})
		if removed += n; err != nil || n == 0 {
			return removed, err
		}
	}
}

func (t *Trail) sayPruned(ctx context.Context, chain string,
	before time.Time) (through audit.Head, err error) {
	known, _ := t.newest()
	var prev, head audit.Head
	err = t.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		head = audit.Head{}
		if through, err = tx.Audit().OlderThan(ctx, chain, before); err != nil {
			return err
		}
		said := through
		if said.Seq == 0 && chain != Chain {
			if said, err = forgotten(ctx, tx, chain, before); err != nil {
				return err
			}
		}
		if said.Seq == 0 {
			return nil
		}
		prev, head, err = tx.Audit().Append(ctx, Chain, audit.Record{Time: tx.Now(),
			Kind: audit.Pruned, Who: chain, Chain: chain, Through: said.Seq, Hash: said.Hash},
			t.seal)
		return err
	})
	if err == nil && head.Seq > 0 {
		t.wrote(known, prev, head)
	}
	return through, err
}

// sayAgain is how long before a record is pruned that it is said again.
const sayAgain = 24 * time.Hour

// forgotten is how far the chain of an agent was pruned, when the record that says so is about to
// be pruned itself.
func forgotten(ctx context.Context, tx *store.Tx, chain string,
	before time.Time) (through audit.Head, err error) {
	first, err := tx.Audit().After(ctx, chain, 0, 1)
	if err != nil || len(first) == 0 || first[0].Seq == 1 {
		return through, err
	}
	said, _, err := tx.Audit().List(ctx, store.AuditFilter{Chain: Chain, Who: chain,
		After: before.Add(sayAgain)}, store.Page{Size: 1})
	if err != nil || len(said) > 0 {
		return through, err
	}
	r, err := first[0].Read()
	return audit.Head{Seq: first[0].Seq - 1, Hash: r.Prev}, err
}
