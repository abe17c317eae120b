package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/audit"
)

func unsealed(string) string { return "seal" }

// testAudit keeps chains, each in its order.
func testAudit(t *testing.T, open Open) {
	st := open(t)
	at := time.UnixMilli(1_700_000_000_000).UTC()
	appended := func(chain string, r audit.Record) (head audit.Head) {
		write(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
			_, head, err = tx.Audit().Append(ctx, chain, r, unsealed)
			return err
		})
		return head
	}
	for i := range 6 {
		r := audit.Record{Time: at.Add(time.Duration(i) * time.Hour), Kind: audit.Begin,
			Who: []string{"ann", "bob"}[i%2], Method: "/a.Service/Change",
			Parameters: []byte(`{"text":"ünïcode 🐬 \\ ' \""}`)}
		head := appended("one", r)
		appended("one", audit.Record{Time: r.Time, Kind: audit.End, Of: head.Seq})
	}
	appended("two", audit.Record{Time: at, Kind: audit.Refused, Who: "ann"})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		log := tx.Audit()
		chains, err := log.Chains(ctx)
		if err != nil || !slices.Equal(chains, []string{"one", "two"}) {
			t.Errorf("chains %v, %v", chains, err)
		}
		v := audit.NewVerifier("one")
		rows, err := log.After(ctx, "one", 0, 100)
		for _, row := range rows {
			v.Add(row.Line)
		}
		head, err2 := log.Head(ctx, "one")
		if got := v.Finish(); err != nil || err2 != nil || got.Count != 12 || got.Head != head ||
			len(got.Problems) > 0 || rows[0].Seal != "seal" {
			t.Errorf("read %+v, head %v, %v, %v", got, head, err, err2)
		}
		testAuditLists(ctx, t, log, at)
		return nil
	})
	var removed int64
	write(t, st, func(ctx context.Context, tx *store.Tx) (err error) {
		removed, err = tx.Audit().DeleteThrough(ctx, "one", 4)
		return err
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Audit().After(ctx, "one", 0, 100)
		if removed != 4 || len(rows) != 8 || rows[0].Seq != 5 {
			t.Errorf("deleted %d, left %d from %d on", removed, len(rows), rows[0].Seq)
		}
		return err
	})
}

func testAuditLists(ctx context.Context, t *testing.T, log store.Audit, at time.Time) {
	for want, f := range map[string]store.AuditFilter{
		"11 9 7 5 3 1": {Chain: "one"},
		"9 5 1":        {Chain: "one", Who: "ann"},
		"7 5":          {Chain: "one", After: at.Add(2 * time.Hour), Before: at.Add(4 * time.Hour)},
		"5 1": {Chain: "one", Who: "ann", Method: "service/CHANGE",
			Before: at.Add(3 * time.Hour)},
		"": {Chain: "one", Method: "nothing"},
	} {
		var got []any
		var begins []int64
		for page := (store.Page{Size: 2}); ; {
			list, next, err := log.List(ctx, f, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range list {
				got, begins = append(got, row.Seq), append(begins, row.Seq)
			}
			if page.Token = next; next == "" {
				break
			}
		}
		text := fmt.Sprintln(got...)
		if text[:len(text)-1] != want {
			t.Errorf("%+v: %s, want %s", f, text, want)
		}
		ends, err := log.Ends(ctx, "one", begins)
		if err != nil || len(ends) != len(begins) {
			t.Errorf("%+v: %d outcomes of %d, %v", f, len(ends), len(begins), err)
		}
	}
	for hours, want := range map[int]int64{0: 0, 1: 2, 3: 6, 100: 11} {
		last, err := log.OlderThan(ctx, "one", at.Add(time.Duration(hours)*time.Hour))
		if err != nil || last.Seq != want {
			t.Errorf("older than %d hours: %v, %v, want %d", hours, last, err, want)
		}
	}
}

// testAuditAtOnce has several processes append to one chain.
func testAuditAtOnce(t *testing.T, open Open) {
	const writers, each = 4, 10
	stores := []*store.Store{open(t), open(t)}
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for range each {
				err := stores[i%2].Write(t.Context(), func(ctx context.Context,
					tx *store.Tx) error {
					_, _, err := tx.Audit().Append(ctx, "c", audit.Record{Time: tx.Now(),
						Kind: audit.Refused}, unsealed)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	read(t, stores[0], func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Audit().After(ctx, "c", 0, writers*each+1)
		v := audit.NewVerifier("c")
		for _, row := range rows {
			v.Add(row.Line)
		}
		if got := v.Finish(); got.Count != writers*each || len(got.Problems) > 0 {
			t.Errorf("%+v", got)
		}
		return err
	})
}
