package trail

import (
	"context"
	"maps"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

const verifyPage = 500

// Verified is what was found in a chain.
type Verified struct {
	audit.Result
	// Chain is its name.
	Chain string
}

// Verify reads all chains, the control plane's own first. Noted are heads of that one that somebody
// wrote down; those of this process and of the file of notes are added.
func (t *Trail) Verify(ctx context.Context, noted ...audit.Head) (all []Verified, err error) {
	notes, err := t.notes()
	if err != nil {
		return nil, err
	}
	// before the records are read: what is written meanwhile is not missing
	known, lost := t.newest()
	noted = append(slices.Clone(noted), notes, known, lost)
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		all = nil
		said := sayings{fetched: map[string][]audit.Head{}, pruned: map[string]audit.Head{}}
		own, err := t.verify(ctx, tx, Chain, noted, audit.Head{}, said.hear)
		if err != nil {
			return err
		}
		all = append(all, own)
		chains, err := tx.Audit().Chains(ctx)
		if err != nil {
			return err
		}
		for _, name := range chains {
			said.fetched[name] = append(said.fetched[name], audit.Head{})
		}
		for _, name := range slices.Sorted(maps.Keys(said.fetched)) {
			if name == Chain {
				continue
			}
			found, err := t.verify(ctx, tx, name, said.fetched[name], said.pruned[name],
				func(audit.Record) {})
			if err != nil {
				return err
			}
			all = append(all, found)
		}
		return nil
	})
	return all, err
}

// sayings are what the control plane's own chain says of those of agents.
type sayings struct {
	fetched map[string][]audit.Head
	pruned  map[string]audit.Head
}

func (s sayings) hear(r audit.Record) {
	head := audit.Head{Seq: r.Through, Hash: r.Hash}
	switch r.Kind {
	case audit.Fetched:
		s.fetched[r.Chain] = append(s.fetched[r.Chain], head)
	case audit.Pruned:
		s.pruned[r.Chain] = head
	}
}

func (t *Trail) verify(ctx context.Context, tx *store.Tx, name string, noted []audit.Head,
	pruned audit.Head, hear func(audit.Record)) (Verified, error) {
	head, err := tx.Audit().Head(ctx, name)
	if err != nil {
		return Verified{}, err
	}
	chain := audit.NewVerifier(name, append(noted, head)...)
	chain.PrunedThrough(pruned)
	for after := int64(-1); ; {
		rows, err := tx.Audit().After(ctx, name, after, verifyPage)
		if err != nil {
			return Verified{}, err
		}
		for _, row := range rows {
			chain.Add(row.Line)
			if !t.Key.Sealed(name, row.Hash, row.Seal) {
				chain.Fault(row.Seq, "it was not written by this control plane: its seal is wrong")
				continue
			}
			r, err := row.Read()
			if err != nil {
				continue // what the chain says
			}
			if row.Seq != r.Seq || row.Filed != store.FiledAs(r) {
				chain.Fault(row.Seq, "it is filed as something else: searches do not find it")
			}
			hear(r)
		}
		if len(rows) < verifyPage {
			return Verified{Chain: name, Result: chain.Finish()}, nil
		}
		after = rows[len(rows)-1].Seq
	}
}
