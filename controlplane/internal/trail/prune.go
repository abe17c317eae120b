package trail

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// Prune removes the records from before that time, and says how many. The chain says so itself
// before the first of them goes; a crash meanwhile leaves some to the next time.
func (t *Trail) Prune(ctx context.Context, before time.Time) (removed int64, err error) {
	through, err := t.sayPruned(ctx, before)
	if err != nil || through.Seq == 0 {
		return 0, err
	}
	for {
		var n int64
		err := t.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
			n, err = tx.Audit().DeleteThrough(ctx, Chain, through.Seq)
			return err
		})
		if removed += n; err != nil || n == 0 {
			return removed, err
		}
	}
}

func (t *Trail) sayPruned(ctx context.Context, before time.Time) (through audit.Head, err error) {
	known, _ := t.newest()
	var prev, head audit.Head
	err = t.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		if through, err = tx.Audit().OlderThan(ctx, Chain, before); err != nil ||
			through.Seq == 0 {
			return err
		}
		prev, head, err = tx.Audit().Append(ctx, Chain, audit.Record{Time: tx.Now(),
			Kind: audit.Pruned, Chain: Chain, Through: through.Seq, Hash: through.Hash}, t.seal)
		return err
	})
	if err == nil && through.Seq > 0 {
		t.wrote(known, prev, head)
	}
	return through, err
}
