package trail

import (
	"context"
	"maps"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const verifyPage = 500

// Verified is what was found in a chain.
type Verified struct {
	audit.Result
	// Chain is its name.
	Chain string
}

// Verify reads the chain of that name, of which noted are heads that somebody wrote down; without a
// name all chains, of which noted are those of the control plane's own. That one is read first,
// with that of an agent too: it has the notes of it, and heads that this process and the file of
// notes know. A chain of which nothing is known is errs.NotFound.
func (t *Trail) Verify(ctx context.Context, only string,
	noted ...audit.Head) (all []Verified, err error) {
	notes, err := t.notes()
	if err != nil {
		return nil, err
	}
	// before the records are read: what is written meanwhile is not missing
	known, lost := t.newest()
	ofOwn := []audit.Head{notes, known, lost}
	if only == "" || only == Chain {
		ofOwn = append(ofOwn, noted...)
	}
	err = t.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		said := sayings{fetched: map[string][]audit.Head{}, pruned: map[string]audit.Head{}}
		own, err := t.verify(ctx, tx, Chain, ofOwn, audit.Head{}, said.hear)
		if err != nil {
			return err
		}
		all = []Verified{own}
		if only == Chain {
			return nil
		}
		names, err := said.chains(ctx, tx, only)
		if err != nil {
			return err
		}
		for _, name := range names {
			heads := said.fetched[name]
			if name == only {
				heads = append(heads, noted...)
			}
			found, err := t.verify(ctx, tx, name, heads, said.pruned[name], func(audit.Record) {})
			if err != nil {
				return err
			}
			all = append(all, found)
		}
		return nil
	})
	return all, err
}

// chains are those of agents of which there are records, or notes; the only one that is asked for.
func (s sayings) chains(ctx context.Context, tx *store.Tx, only string) ([]string, error) {
	stored, err := tx.Audit().Chains(ctx)
	if err != nil {
		return nil, err
	}
	names := append(stored, slices.Collect(maps.Keys(s.fetched))...)
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return name == Chain || only != "" && name != only
	})
	if only != "" && len(names) == 0 {
		return nil, errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
			"there are no records of "+only,
			errs.WithHint("list the chains", errs.Call("VerifyAudit")))
	}
	return names, nil
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
