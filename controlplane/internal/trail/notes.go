package trail

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

// Note writes down how far the chain is, outside the store: who cuts the chain's end off there is
// found by it. A note that the chain does not fit any more stays.
func (t *Trail) Note(ctx context.Context) error {
	old, err := t.notes()
	if err != nil {
		return err
	}
	known, lost := t.newest() // before the chain is read, which goes on meanwhile
	if lost.Seq > old.Seq {
		return atomicfile.WriteJSON(t.Notes, lost)
	}
	var head audit.Head
	var fits bool
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		if head, err = tx.Audit().Head(ctx, Chain); err != nil {
			return err
		}
		fits, err = contains(ctx, tx, old)
		return err
	})
	if err != nil {
		return err
	}
	if !fits || head.Seq < max(old.Seq, known.Seq) {
		t.sayChanged(old, head)
		return nil
	}
	if head.Seq == old.Seq {
		return nil
	}
	return atomicfile.WriteJSON(t.Notes, head)
}

// Say writes the head of the chain into the log, which is kept elsewhere.
func (t *Trail) Say() {
	if head, _ := t.newest(); head.Seq > 0 {
		t.Logger.Info("audit", "seq", head.Seq, "hash", head.Hash)
	}
}

// contains says whether the chain still has the record that was noted, or had it until it was
// pruned.
func contains(ctx context.Context, tx *store.Tx, noted audit.Head) (bool, error) {
	if noted.Seq == 0 {
		return true, nil
	}
	rows, err := tx.Audit().After(ctx, Chain, noted.Seq-1, 1)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	if rows[0].Seq == noted.Seq {
		return rows[0].Hash == noted.Hash, nil
	}
	first, err := tx.Audit().After(ctx, Chain, 0, 1)
	return len(first) > 0 && first[0].Seq > noted.Seq, err
}

// notes is what the file says; the zero Head without one.
func (t *Trail) notes() (head audit.Head, err error) {
	if _, err = atomicfile.ReadJSON(t.Notes, &head); err != nil {
		err = fmt.Errorf("cannot read the notes of the audit: %w", err)
	}
	return head, err
}
