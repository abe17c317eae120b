package trail

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

const (
	// mostRemovable are the records of a chain that are removed at a time.
	mostRemovable = 40 * verifyPage
	// sayAgain is how long before a record of pruning is pruned that it is said again.
	sayAgain = 24 * time.Hour
)

// removable is the last of the records that are removed of a chain: those that are older than that
// by what was hashed and sealed. The columns say whatever somebody wrote into the store.
func (t *Trail) removable(ctx context.Context, tx *store.Tx, chain string,
	before time.Time) (through audit.Head, err error) {
	last, err := tx.Audit().OlderThan(ctx, chain, before)
	if err != nil || last.Seq == 0 {
		return through, err
	}
	var head audit.Head
	for range mostRemovable / verifyPage {
		rows, err := tx.Audit().After(ctx, chain, head.Seq, verifyPage)
		if err != nil {
			return through, err
		}
		for _, row := range rows {
			if row.Seq > last.Seq {
				return through, nil
			}
			if head.Seq == 0 {
				head, err = t.beginning(ctx, tx, chain, row)
			}
			wrong := t.wrong(chain, row, head)
			if r, _ := row.Read(); wrong == "" && !r.Time.Before(before) {
				wrong = "it is filed as older than it is"
			}
			if err != nil || wrong != "" {
				t.sayKept(chain, row.Seq, wrong)
				return through, err
			}
			head = audit.Head{Seq: row.Seq, Hash: row.Hash}
			through = head
		}
		if len(rows) < verifyPage {
			break
		}
	}
	return through, nil
}

// wrong is why a row is not the record that was written behind head.
func (t *Trail) wrong(chain string, row store.AuditRow, head audit.Head) string {
	r, err := row.Read()
	switch {
	case err != nil || !row.Whole() || r.Seq != row.Seq:
		return "it was changed"
	case !t.Key.Sealed(chain, row.Hash, row.Seal):
		return "its seal is wrong"
	case r.Seq != head.Seq+1 || r.Prev != head.Hash:
		return fmt.Sprintf("it does not follow record %d", head.Seq)
	}
	return ""
}

func (t *Trail) sayKept(chain string, seq int64, why string) {
	t.Logger.Error("old records of the audit are not removed: run `understudy audit verify`",
		"chain", chain, "record", seq, "error", why)
}

// beginning is what the first row of a chain follows: nothing, or what was pruned. Of more that was
// to be pruned a crash may have left it.
func (t *Trail) beginning(ctx context.Context, tx *store.Tx, chain string,
	first store.AuditRow) (audit.Head, error) {
	if first.Seq == 1 {
		return audit.Origin(chain), nil
	}
	said, err := t.lastPruned(ctx, tx, chain)
	r, unread := first.Read()
	if err == nil && unread == nil && said.Through > first.Seq-1 {
		return audit.Head{Seq: first.Seq - 1, Hash: r.Prev}, nil
	}
	return audit.Head{Seq: said.Through, Hash: said.Hash}, err
}

// lastPruned is the newest record which says that the chain was pruned; its Seq is 0 when there is
// none that this control plane wrote.
func (t *Trail) lastPruned(ctx context.Context, tx *store.Tx,
	chain string) (audit.Record, error) {
	rows, _, err := tx.Audit().List(ctx, store.AuditFilter{Chain: Chain, Who: chain},
		store.Page{Size: 1})
	if err != nil || len(rows) == 0 {
		return audit.Record{}, err
	}
	if r, ok := t.own(rows[0]); ok && r.Kind == audit.Pruned && r.Chain == chain {
		return r, nil
	}
	return audit.Record{}, nil
}

// own is the record of a row of the control plane's own chain, and whether it was written as that.
func (t *Trail) own(row store.AuditRow) (audit.Record, bool) {
	r, err := row.Read()
	return r, err == nil && row.Whole() && r.Seq == row.Seq &&
		t.Key.Sealed(Chain, row.Hash, row.Seal)
}

// forgotten is how far the chain of an agent was pruned, when the record that says so is about to
// be pruned itself. A beginning that is missing for another reason is not said to be pruned.
func (t *Trail) forgotten(ctx context.Context, tx *store.Tx, chain string,
	before time.Time) (through audit.Head, err error) {
	first, err := tx.Audit().After(ctx, chain, 0, 1)
	if err != nil || len(first) == 0 || first[0].Seq == 1 {
		return through, err
	}
	said, err := t.lastPruned(ctx, tx, chain)
	if err != nil {
		return through, err
	}
	if said.Through >= first[0].Seq { // a crash left it, and retention is longer now
		return through, nil
	}
	through = audit.Head{Seq: said.Through, Hash: said.Hash}
	if wrong := t.wrong(chain, first[0], through); wrong != "" {
		t.sayKept(chain, first[0].Seq, wrong)
		return audit.Head{}, nil
	}
	if !said.Time.Before(before.Add(sayAgain)) {
		return audit.Head{}, nil
	}
	return through, nil
}
