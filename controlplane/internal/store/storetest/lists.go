package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

func testEvents(t *testing.T, open Open) {
	st := open(t)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for i := range 5 {
			ev := inventory.Event{Actor: "ann", Action: fmt.Sprintf("a%d", i),
				Subject: "servers/db1", Message: "what"}
			if i == 4 {
				ev.Subject, ev.Job = "servers/db2", "j1"
			}
			if err := tx.Events().Add(ctx, ev); err != nil {
				return err
			}
		}
		return nil
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		first, next, err := tx.Events().List(ctx, store.EventFilter{Subject: "servers/db1"},
			store.Page{Size: 3})
		if err != nil || len(first) != 3 || first[0].Action != "a3" || first[0].At.IsZero() ||
			next == "" {
			t.Errorf("first page = %+v, %q, %v", first, next, err)
		}
		second, next, err := tx.Events().List(ctx, store.EventFilter{Subject: "servers/db1"},
			store.Page{Size: 3, Token: next})
		if err != nil || len(second) != 1 || second[0].Action != "a0" || next != "" {
			t.Errorf("second page = %+v, %q, %v", second, next, err)
		}
		byJob, _, err := tx.Events().List(ctx, store.EventFilter{Job: "j1", Actor: "ann"},
			store.Page{})
		if len(byJob) != 1 || byJob[0].Action != "a4" {
			t.Errorf("of the job = %+v", byJob)
		}
		return err
	})
}

func testServerFilters(t *testing.T, open Open) {
	st := open(t)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, s := range []inventory.Server{
			{Name: "db1", Role: inventory.RolePrimary, State: inventory.ServerReady,
				MachineID: "i-1", Address: "192.0.2.1"},
			{Name: "db2", Role: inventory.RoleReplica, State: inventory.ServerDegraded,
				Primary: "db1", StateReason: "Größe STOPPED"},
			{Name: "db3", Role: inventory.RoleReplica, State: inventory.ServerDeleted,
				Primary: "db1"},
		} {
			if err := tx.Servers().Insert(ctx, &s); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []struct {
		filter store.ServerFilter
		want   string
	}{
		{store.ServerFilter{}, "db1 db2 db3"},
		{store.ServerFilter{NotDeleted: true}, "db1 db2"},
		{store.ServerFilter{States: []inventory.ServerState{inventory.ServerReady,
			inventory.ServerDeleted}}, "db1 db3"},
		{store.ServerFilter{Role: inventory.RoleReplica, Primary: "db1", NotDeleted: true}, "db2"},
		{store.ServerFilter{Text: "größe stop"}, "db2"},
		{store.ServerFilter{Text: "192.0.2"}, "db1"},
		{store.ServerFilter{Text: "I-1"}, "db1"},
		{store.ServerFilter{Text: "%"}, ""},
	} {
		read(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, _, err := tx.Servers().List(ctx, c.filter, store.Page{})
			var names []string
			for _, s := range list {
				names = append(names, s.Name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("%+v: %q, want %q", c.filter, got, c.want)
			}
			return err
		})
	}
}

func testSnapshotFilters(t *testing.T, open Open) {
	st := open(t)
	for id, state := range map[string]inventory.SnapshotState{"s1": inventory.SnapshotReady,
		"s2": inventory.SnapshotFailed, "s3": inventory.SnapshotDeleted} {
		write(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.Snapshots().Insert(ctx, &inventory.Snapshot{ID: id, State: state,
				Server: "db" + id, ProviderID: "snap-" + id})
		})
	}
	now := time.Now()
	for _, c := range []struct {
		filter store.SnapshotFilter
		count  int
	}{
		{store.SnapshotFilter{}, 3}, {store.SnapshotFilter{Usable: true}, 1},
		{store.SnapshotFilter{States: []inventory.SnapshotState{inventory.SnapshotFailed}}, 1},
		{store.SnapshotFilter{Text: "SNAP-s3"}, 1}, {store.SnapshotFilter{Server: "dbs2"}, 1},
		{store.SnapshotFilter{After: now.Add(-time.Hour), Before: now.Add(time.Hour)}, 3},
		{store.SnapshotFilter{After: now.Add(time.Hour)}, 0},
		{store.SnapshotFilter{Before: now.Add(-time.Hour)}, 0},
	} {
		read(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, _, err := tx.Snapshots().List(ctx, c.filter, store.Page{})
			if len(list) != c.count {
				t.Errorf("%+v: %d snapshots, want %d", c.filter, len(list), c.count)
			}
			return err
		})
	}
}

func testPages(t *testing.T, open Open) {
	st := open(t)
	var want []string
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		want = nil
		for i := range 7 {
			s := inventory.Server{Name: fmt.Sprintf("db%d", i), Role: inventory.RolePrimary}
			want = append(want, s.Name)
			if err := tx.Servers().Insert(ctx, &s); err != nil {
				return err
			}
		}
		return nil
	})
	var got []string
	page := store.Page{Size: 3}
	for more := true; more; more = page.Token != "" {
		read(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, next, err := tx.Servers().List(ctx,
				store.ServerFilter{Role: inventory.RolePrimary}, page)
			for _, s := range list {
				got = append(got, s.Name)
			}
			page.Token = next
			return err
		})
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages = %v, want %v", got, want)
	}
	largePages(t, st)
	badPages(t, st)
}

// largePages are bounded by bytes too.
func largePages(t *testing.T, st *store.Store) {
	t.Helper()
	large := strings.Repeat("x", 300<<10)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for i := range 20 {
			s := inventory.Server{Name: fmt.Sprintf("large%02d", i), StateReason: large,
				Role: inventory.RoleReplica}
			if err := tx.Servers().Insert(ctx, &s); err != nil {
				return err
			}
		}
		return tx.Events().Add(ctx, inventory.Event{Action: "large", Message: large + "\xff"})
	})
	page, pages, seen := store.Page{Size: 20}, 0, 0
	for more := true; more; more = page.Token != "" {
		read(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, next, err := tx.Servers().List(ctx,
				store.ServerFilter{Role: inventory.RoleReplica}, page)
			page.Token, pages, seen = next, pages+1, seen+len(list)
			return err
		})
	}
	if pages != 4 || seen != 20 {
		t.Errorf("%d servers of 300 KiB on %d pages", seen, pages)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		list, _, err := tx.Events().List(ctx, store.EventFilter{Action: "large"}, store.Page{})
		if err == nil && (len(list) != 1 || len(list[0].Message) > 2<<10) {
			t.Errorf("an event of %d bytes", len(list[0].Message))
		}
		return err
	})
}

func badPages(t *testing.T, st *store.Store) {
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		_, token, err := tx.Servers().List(ctx, store.ServerFilter{Role: inventory.RolePrimary},
			store.Page{Size: 1})
		for name, bad := range map[string]struct {
			f store.ServerFilter
			p store.Page
		}{
			"negative size": {p: store.Page{Size: -1}},
			"no token":      {p: store.Page{Token: "%%%"}},
			"no JSON":       {p: store.Page{Token: "YWJj"}},
			"null":          {p: store.Page{Token: "bnVsbA"}},
			"other filter":  {f: store.ServerFilter{Primary: "x"}, p: store.Page{Token: token}},
		} {
			if _, _, err := tx.Servers().List(ctx, bad.f, bad.p); !errors.Is(err,
				errs.InvalidArgument) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			}
		}
		return err
	})
}

func testText(t *testing.T, open Open) {
	st := open(t)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, id := range []string{"v", "V", "v ", "ä", "a"} {
			if err := tx.Volumes().Insert(ctx, &inventory.Volume{ID: id}); err != nil {
				return fmt.Errorf("%q: %w", id, err)
			}
		}
		return nil
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Volumes().Get(ctx, "A"); !errors.Is(err, inventory.ErrNotFound) {
			t.Errorf("A is found as a: %v", err)
		}
		list, _, err := tx.Volumes().List(ctx, store.VolumeFilter{}, store.Page{})
		var ids []string
		for _, v := range list {
			ids = append(ids, v.ID)
		}
		if !slices.Equal(ids, []string{"V", "a", "v", "v ", "ä"}) {
			t.Errorf("order = %q", ids)
		}
		return err
	})
}

func testJoinTokens(t *testing.T, open Open) {
	st := open(t)
	token := inventory.JoinToken{Hash: "h", Server: "db1", Creator: "u/operator/a",
		Created: time.UnixMilli(1000).UTC(), Expires: time.UnixMilli(2000).UTC()}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return tx.JoinTokens().Insert(ctx,
			token)
	})
	spend := func(key string) error {
		return st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			used := token
			used.UsedBy, used.UsedAt = key, time.UnixMilli(1500)
			return tx.JoinTokens().Spend(ctx, used)
		})
	}
	for _, key := range []string{"k1", "k1"} {
		if err := spend(key); err != nil {
			t.Error(err)
		}
	}
	if err := spend("k2"); !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("another key: %v, want ErrDenied", err)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.JoinTokens().Get(ctx, "h")
		if got.UsedBy != "k1" || got.Expires != token.Expires || got.Server != "db1" {
			t.Errorf("token = %+v", got)
		}
		if _, err := tx.JoinTokens().Get(ctx, "x"); !errors.Is(err, inventory.ErrNotFound) {
			t.Errorf("unknown token: %v", err)
		}
		return err
	})
}

func testRevokedJoinTokens(t *testing.T, open Open) {
	st := open(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, token := range []inventory.JoinToken{
			{Hash: "good", Creator: "u/operator/a"}, {Hash: "used", Creator: "u/operator/a",
				UsedBy: "k", UsedAt: now}, {Hash: "other", Creator: "u/operator/b"},
			{Hash: "case", Creator: "u/operator/A"},
			{Hash: "over", Creator: "u/operator/a", Expires: now.Add(-time.Hour)}} {
			if token.Expires.IsZero() {
				token.Expires = now.Add(time.Hour)
			}
			if err := tx.JoinTokens().Insert(ctx, token); err != nil {
				return err
			}
		}
		return nil
	})
	for _, want := range []int64{1, 0} {
		write(t, st, func(ctx context.Context, tx *store.Tx) error {
			n, err := tx.JoinTokens().Revoke(ctx, "u/operator/a")
			if n != want {
				t.Errorf("revoked %d, want %d", n, want)
			}
			return err
		})
	}
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.JoinTokens().Spend(ctx, inventory.JoinToken{Hash: "good", UsedBy: "k"})
	})
	if !errors.Is(err, errs.PermissionDenied) {
		t.Errorf("a revoked token is used: %v", err)
	}
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.JoinTokens().All(ctx, nil)
		for _, token := range all {
			if token.RevokedAt.IsZero() != (token.Hash != "good") {
				t.Errorf("%s is revoked at %s", token.Hash, token.RevokedAt)
			}
		}
		if len(all) != 5 {
			t.Errorf("all = %v", all)
		}
		return err
	})
}

func testScopes(t *testing.T, open Open) {
	st := open(t)
	set := func(name string, servers ...string) {
		t.Helper()
		write(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.Operators().SetScope(ctx, name, servers)
		})
	}
	set("ann", "shop-*", "web-1")
	set("bob", "a")
	set("bob", "b")
	set("bob") // a certificate of before may be limited still
	set("cat")
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Operators().Scopes(ctx)
		if len(got) != 2 || !slices.Equal(got["ann"], []string{"shop-*", "web-1"}) ||
			!slices.Equal(got["bob"], []string{"*"}) {
			t.Errorf("%v", got)
		}
		return err
	})
}
