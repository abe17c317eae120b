package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// grantsOf are one each of two operators on two agents, and one that is over.
func grantsOf(now time.Time) (all []inventory.AgentGrant) {
	for _, name := range []string{"ann", "bob"} {
		for _, server := range []string{"db1", "db2"} {
			all = append(all, inventory.AgentGrant{ID: name + " on " + server, Server: server,
				Operator: identity.Operator(name).String(), KeyPrint: "print", Reason: "a test",
				Creator: "u/admin/ada", Created: now, Expires: now.Add(time.Hour)})
		}
	}
	return append(all, inventory.AgentGrant{ID: "over", Server: "db1",
		Operator: identity.Operator("ann").String(), Created: now.Add(-2 * time.Hour),
		Expires: now.Add(-time.Hour)})
}

// inForce are the ids of the grants in force, and the number of that list.
func inForce(t *testing.T, st *store.Store) (sequence int64, ids []string) {
	t.Helper()
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		var all []inventory.AgentGrant
		var err error
		sequence, all, err = tx.AgentGrants().InForce(ctx)
		ids = names(all, func(g inventory.AgentGrant) string { return g.ID })
		return err
	})
	return sequence, ids
}

// testGrants ends grants one by one, and with the certificates of their operators and agents.
func testGrants(t *testing.T, open Open) {
	st := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	if sequence, ids := inForce(t, st); sequence != 0 || len(ids) > 0 {
		t.Errorf("list %d of nothing: %v", sequence, ids)
	}
	all := grantsOf(now)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, g := range all {
			if err := tx.AgentGrants().Insert(ctx, g); err != nil {
				return err
			}
		}
		return nil
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.AgentGrants().Get(ctx, all[0].ID)
		if got != all[0] {
			t.Errorf("got %+v, want %+v", got, all[0])
		}
		if _, err := tx.AgentGrants().Get(ctx, "x"); !errors.Is(err, inventory.ErrNotFound) {
			t.Errorf("of none: %v", err)
		}
		return err
	})
	last := int64(0)
	left := func(what string, want ...string) {
		t.Helper()
		sequence, ids := inForce(t, st)
		if !slices.Equal(ids, want) || sequence <= last {
			t.Errorf("%s: list %d after %d: %v, want %v", what, sequence, last, ids, want)
		}
		last = sequence
	}
	left("all", "ann on db1", "ann on db2", "bob on db1", "bob on db2")
	end := func(fn func(ctx context.Context, tx *store.Tx) error) {
		t.Helper()
		for range 2 { // a repeat changes nothing
			write(t, st, fn)
		}
	}
	end(func(ctx context.Context, tx *store.Tx) error {
		return tx.AgentGrants().Revoke(ctx, "bob on db2")
	})
	left("one is revoked", "ann on db1", "ann on db2", "bob on db1")
	end(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Certificates().Revoke(ctx, identity.Agent("db2").String(), "gone")
		return err
	})
	left("an agent is revoked", "ann on db1", "bob on db1")
	end(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Certificates().Revoke(ctx, identity.Operator("ann").String(), "left")
		return err
	})
	left("an operator is revoked", "bob on db1")
	if sequence, _ := inForce(t, st); sequence != last {
		t.Errorf("a look makes list %d of %d", sequence, last)
	}
	before := time.Now()
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return tx.Restored(ctx, now.Add(-time.Minute))
	})
	left("a backup is restored")
	if last < before.UnixMilli() {
		t.Errorf("a restored control plane tells list %d, and agents may have seen greater ones",
			last)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		kept, err := tx.AgentGrants().All(ctx, "db1", nil)
		if got := fmt.Sprint(names(kept, func(g inventory.AgentGrant) string {
			return g.ID
		})); got != "[ann on db1 bob on db1 over]" {
			t.Errorf("on record: %s", got)
		}
		return err
	})
}
