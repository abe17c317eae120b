package query_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// filled is a store with that many replicas, each with a volume and a snapshot.
func filled(t *testing.T, count int) (st *store.Store, statements *atomic.Int64) {
	t.Helper()
	statements = &atomic.Int64{}
	st = storetest.New(t, func(cfg *store.Config) {
		cfg.Trace = func(string) { statements.Add(1) }
	})
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for i := range count {
			id := fmt.Sprintf("%03d", i)
			v := inventory.Volume{ID: "v" + id, ProviderID: "vol-" + id, Server: "db" + id,
				Snapshot: "s" + id}
			srv := inventory.Server{Name: "db" + id, Role: inventory.RoleReplica, Job: "j" + id,
				DataVolume: v.ID, MachineID: "i-" + id,
				Mounts:   []inventory.Mount{{Volume: v.ID}, {Volume: "unknown"}},
				Verified: inventory.Verification{Level: inventory.VerifyFull, GTID: "0-1-2"}}
			snap := inventory.Snapshot{ID: "s" + id, Server: srv.Name, Volume: v.ID,
				ProviderID: "snap-" + id}
			if err := tx.Volumes().Insert(ctx, &v); err != nil {
				return err
			}
			if err := tx.Servers().Insert(ctx, &srv); err != nil {
				return err
			}
			if err := tx.Snapshots().Insert(ctx, &snap); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return st, statements
}

// A list costs the same number of statements whatever its length.
func TestListsCostConstantStatements(t *testing.T) {
	t.Parallel()
	const few, many = 2, 40
	lists := map[string]func(context.Context, *store.Store) (int, error){
		"servers": func(ctx context.Context, st *store.Store) (int, error) {
			all, _, err := query.Servers{Store: st}.List(ctx, query.ServerFilter{}, 0, "")
			return len(all), err
		},
		"snapshots": func(ctx context.Context, st *store.Store) (int, error) {
			all, _, err := query.Snapshots{Store: st}.List(ctx, query.SnapshotFilter{}, 0,
				"")
			return len(all), err
		},
		"owners": func(ctx context.Context, st *store.Store) (int, error) {
			all, err := query.Owners{Store: st}.Owners(ctx)
			return len(all) / 3, err
		},
		"events": func(ctx context.Context, st *store.Store) (int, error) {
			_, _, err := query.Events{Store: st}.Events(ctx, query.EventFilter{}, 0, "")
			return -1, err
		},
	}
	cost := func(count int) map[string]int64 {
		st, statements := filled(t, count)
		costs := map[string]int64{}
		for name, list := range lists {
			statements.Store(0)
			got, err := list(t.Context(), st)
			if err != nil || got >= 0 && got != count {
				t.Errorf("%s has %d entries, want %d: %v", name, got, count, err)
			}
			costs[name] = statements.Load()
		}
		return costs
	}
	short, long := cost(few), cost(many)
	for name := range lists {
		if short[name] != long[name] || short[name] == 0 || short[name] > 3 {
			t.Errorf("%s: %d statements for %d entries, %d for %d", name, short[name], few,
				long[name], many)
		}
	}
}

// TestStatesAreFilteredAsTheyAreShown: READY of some is shown as UNKNOWN.
func TestStatesAreFilteredAsTheyAreShown(t *testing.T) {
	t.Parallel()
	st := storetest.New(t)
	if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for name, state := range map[string]inventory.ServerState{
			"db1": inventory.ServerReady, "db2": inventory.ServerReady,
			"db3": inventory.ServerDegraded} {
			if err := tx.Servers().Insert(ctx,
				&inventory.Server{Name: name, State: state}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	servers := query.Servers{Store: st, Shown: func(s inventory.Server) inventory.Server {
		if s.Name == "db2" {
			s.State = inventory.ServerUnknown
		}
		return s
	}}
	const ready, unknown, degraded = inventory.ServerReady, inventory.ServerUnknown,
		inventory.ServerDegraded
	for _, test := range []struct {
		states []inventory.ServerState
		want   string
	}{
		{nil, "db1 READY, db2 UNKNOWN, db3 DEGRADED"},
		{[]inventory.ServerState{ready}, "db1 READY"},
		{[]inventory.ServerState{unknown}, "db2 UNKNOWN"},
		{[]inventory.ServerState{unknown, degraded}, "db2 UNKNOWN, db3 DEGRADED"},
		{[]inventory.ServerState{ready, unknown}, "db1 READY, db2 UNKNOWN"},
	} {
		all, _, err := servers.List(t.Context(), query.ServerFilter{States: test.states}, 0, "")
		var got []string
		for _, s := range all {
			got = append(got, s.Name+" "+string(s.State))
		}
		if err != nil || strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %q, %v, want %q", test.states, got, err, test.want)
		}
	}
	if one, err := servers.Get(t.Context(), "db2"); err != nil || one.State != unknown {
		t.Errorf("%s, %v", one.State, err)
	}
}

func TestServersAreComplete(t *testing.T) {
	t.Parallel()
	st, _ := filled(t, 2)
	all, _, err := query.Servers{Store: st}.List(t.Context(), query.ServerFilter{}, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	for i, srv := range all {
		id := fmt.Sprintf("%03d", i)
		one, err := query.Servers{Store: st}.Get(t.Context(), srv.Name)
		if err != nil || one.Snapshot != "s"+id || len(one.Volumes) != 1 ||
			one.ProviderID("v"+id) != "vol-"+id || one.ProviderID("unknown") != "unknown" ||
			srv.Snapshot != one.Snapshot || srv.Verified.Level != inventory.VerifyFull {
			t.Errorf("%+v, %+v, %v", srv, one, err)
		}
	}
	snaps, _, err := query.Snapshots{Store: st}.List(t.Context(),
		query.SnapshotFilter{Server: "db001"}, 0, "")
	if err != nil || len(snaps) != 1 || snaps[0].VolumeID != "vol-001" {
		t.Errorf("%+v, %v", snaps, err)
	}
}
