package trail

import (
	"context"
	"errors"
	"slices"
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
	chains = slices.DeleteFunc(chains, func(chain string) bool { return chain == Chain })
	for _, chain := range append(chains, Chain) {
		if chain == Chain && err != nil {
			break
		}
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
		if through, err = t.removable(ctx, tx, chain, before); err != nil {
			return err
		}
		said := through
		if said.Seq == 0 && chain != Chain {
			if said, err = t.forgotten(ctx, tx, chain, before); err != nil {
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
