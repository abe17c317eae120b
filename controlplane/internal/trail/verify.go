package trail

import (
	"context"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

const verifyPage = 500

// Verify reads all of the chain. Noted are heads that somebody wrote down; those of this process
// and of the file of notes are added.
func (t *Trail) Verify(ctx context.Context, noted ...audit.Head) (result audit.Result, err error) {
	notes, err := t.notes()
	if err != nil {
		return result, err
	}
	// before the records are read: what is written meanwhile is not missing
	known, lost := t.newest()
	noted = append(slices.Clone(noted), notes, known, lost)
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		result, err = t.verify(ctx, tx, noted)
		return err
	})
	return result, err
}

func (t *Trail) verify(ctx context.Context, tx *store.Tx,
	noted []audit.Head) (audit.Result, error) {
	head, err := tx.Audit().Head(ctx, Chain)
	if err != nil {
		return audit.Result{}, err
	}
	chain := audit.NewVerifier(Chain, append(noted, head)...)
	for after := int64(-1); ; {
		rows, err := tx.Audit().After(ctx, Chain, after, verifyPage)
		if err != nil {
			return audit.Result{}, err
		}
		for _, row := range rows {
			chain.Add(row.Line)
			if !t.Key.Sealed(Chain, row.Hash, row.Seal) {
				chain.Fault(row.Seq, "it was not written by this control plane: its seal is wrong")
			}
		}
		if len(rows) < verifyPage {
			return chain.Finish(), nil
		}
		after = rows[len(rows)-1].Seq
	}
}
