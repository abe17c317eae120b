package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// testDocuments keeps one document a server, of each kind by itself.
func testDocuments(t *testing.T, open Open) {
	st := open(t)
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.Proofs().Put(ctx, "db1", "p"), tx.Histories().Put(ctx, "db1", "a"),
			tx.Histories().Put(ctx, "db2", "b"), tx.Histories().Put(ctx, "db1", "c"),
			tx.Histories().Put(ctx, "db3", "d"), tx.Histories().Put(ctx, "db3", ""),
			tx.Histories().Put(ctx, "db4", ""))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = open(t).Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Histories().All(ctx)
		if err != nil || !maps.Equal(all, map[string]string{"db1": "c", "db2": "b"}) {
			t.Errorf("histories %v, %v", all, err)
		}
		servers, err := tx.Histories().Servers(ctx)
		if slices.Sort(servers); err != nil || !slices.Equal(servers, []string{"db1", "db2"}) {
			t.Errorf("histories of %v, %v", servers, err)
		}
		for server, want := range map[string]string{"db1": "p", "db2": ""} {
			if doc, err := tx.Proofs().Get(ctx, server); err != nil || doc != want {
				t.Errorf("the proofs of %s are %q, %v", server, doc, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
