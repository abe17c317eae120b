package storetest

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// strewn has for each server a snapshot, a job about each of them, events of all, a token
// and a grant.
func strewn(t *testing.T, st *store.Store, servers ...string) {
	t.Helper()
	jobOf := func(id string, subjects ...string) job.Job {
		j := sampleJob(id)
		j.Subjects = subjects
		return j
	}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		for i, name := range servers {
			snapshot := "of-" + name
			for _, err := range []error{
				tx.Servers().Insert(ctx, &inventory.Server{Name: name}),
				tx.Snapshots().Insert(ctx, &inventory.Snapshot{ID: snapshot, Server: name}),
				tx.JoinTokens().Insert(ctx, inventory.JoinToken{Hash: fmt.Sprint("h", i),
					Server: name, Expires: time.Now()}),
				tx.AgentGrants().Insert(ctx, inventory.AgentGrant{ID: fmt.Sprint("g", i),
					Server: name, Expires: time.Now()}),
				st.Jobs(tx).Insert(ctx, jobOf(fmt.Sprint("a", i), "servers/"+name)),
				st.Jobs(tx).Insert(ctx, jobOf(fmt.Sprint("b", i), "snapshots/new"+name,
					"snapshotting/"+name)),
				st.Jobs(tx).Insert(ctx, jobOf(fmt.Sprint("c", i), "snapshots/"+snapshot)),
			} {
				if err != nil {
					return err
				}
			}
			for _, subject := range []string{"servers/" + name, "snapshots/" + snapshot,
				fmt.Sprint("jobs/b", i), fmt.Sprint("volumes/v", i)} {
				if err := tx.Events().Add(ctx, inventory.Event{Subject: subject}); err != nil {
					return err
				}
			}
		}
		return st.Jobs(tx).Insert(ctx, jobOf("both", "servers/db1", "servers/shop-1"))
	})
}

// A list has what is of the scope alone, page by page, and no token names what is not.
func testListsOfAScope(t *testing.T, open Open) {
	st := open(t)
	strewn(t, st, "db1", "shop-1", "shop_1", "db2", "shopx1", "shop-2", "zz")
	for _, c := range []struct {
		scope inventory.Scope
		want  string
	}{
		{inventory.Scope{"shop-*"}, "shop-1 shop-2 of-shop-1 of-shop-2 a1 a5 b1 b5 c1 c5 " +
			"servers/shop-1 servers/shop-2 snapshots/of-shop-1 snapshots/of-shop-2 jobs/b1 " +
			"jobs/b5 h1 h5 g1 g5"},
		{inventory.Scope{"shop_*", "none"},
			"shop_1 of-shop_1 a2 b2 c2 servers/shop_1 snapshots/of-shop_1 jobs/b2 h2 g2"},
		{inventory.Scope{"*1", "db2"}, "both"},
		{inventory.Scope{"%"}, ""}, {inventory.NoServers(), ""},
	} {
		got := listed(t, st, c.scope)
		if c.want == "both" { // both of the servers of one job
			if !slices.Contains(got, "both") || slices.Contains(got, "zz") {
				t.Errorf("%v: %v", c.scope, got)
			}
			continue
		}
		want := strings.Fields(c.want)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", c.scope, got, want)
		}
	}
}

// listed is all that the lists of a scope have, by pages of one.
func listed(t *testing.T, st *store.Store, scope inventory.Scope) (all []string) {
	t.Helper()
	one := store.Page{Size: 1}
	for name, page := range map[string]func(context.Context, *store.Tx, string) ([]string, string,
		error){
		"servers": func(ctx context.Context, tx *store.Tx, token string) ([]string, string, error) {
			list, next, err := tx.Servers().List(ctx, store.ServerFilter{Scope: scope},
				store.Page{Size: one.Size, Token: token})
			return names(list, func(s inventory.Server) string { return s.Name }), next, err
		},
		"snapshots": func(ctx context.Context, tx *store.Tx, token string) ([]string, string,
			error) {
			list, next, err := tx.Snapshots().List(ctx, store.SnapshotFilter{Scope: scope},
				store.Page{Size: one.Size, Token: token})
			return names(list, func(s inventory.Snapshot) string { return s.ID }), next, err
		},
		"events": func(ctx context.Context, tx *store.Tx, token string) ([]string, string, error) {
			list, next, err := tx.Events().List(ctx, store.EventFilter{Scope: scope},
				store.Page{Size: one.Size, Token: token})
			return names(list, func(e inventory.Event) string { return e.Subject }), next, err
		},
		"jobs": func(ctx context.Context, tx *store.Tx, token string) ([]string, string, error) {
			list, next, err := st.Jobs(tx).List(ctx, job.Filter{Scope: scope, PageSize: one.Size,
				PageToken: token})
			return names(list, func(j job.Job) string { return j.ID }), next, err
		},
		"tokens": func(ctx context.Context, tx *store.Tx, _ string) ([]string, string, error) {
			list, err := tx.JoinTokens().All(ctx, scope)
			return names(list, func(t inventory.JoinToken) string { return t.Hash }), "", err
		},
		"grants": func(ctx context.Context, tx *store.Tx, _ string) ([]string, string, error) {
			list, err := tx.AgentGrants().All(ctx, "", scope)
			return names(list, func(g inventory.AgentGrant) string { return g.ID }), "", err
		},
	} {
		for token, more := "", true; more; more = token != "" {
			read(t, st, func(ctx context.Context, tx *store.Tx) error {
				some, next, err := page(ctx, tx, token)
				if len(some) == 0 && (token != "" || next != "") {
					t.Errorf("%v: an empty page of %s among others", scope, name)
				}
				if text, _ := base64.RawURLEncoding.DecodeString(next); name == "servers" &&
					next != "" && !strings.Contains(string(text), `"`+some[0]+`"`) {
					t.Errorf("%v: the page with %s ends with %s", scope, some, text)
				}
				all, token = append(all, some...), next
				return err
			})
		}
	}
	slices.Sort(all)
	return all
}

func names[R any](list []R, name func(R) string) (all []string) {
	for _, r := range list {
		all = append(all, name(r))
	}
	return all
}
