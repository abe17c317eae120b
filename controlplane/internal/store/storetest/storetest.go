// Package storetest is the conformance suite that every database under the store must pass, and
// makes stores for the tests of others. It is imported from tests alone.
package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Open gives a store on a database of its own, empty at first; called again in one test it opens
// the same database once more.
type Open func(t *testing.T) *store.Store

// Run runs the suite. New makes a database for one test and returns how to open it.
func Run(t *testing.T, newDatabase func(t *testing.T) Open) {
	tests := map[string]func(t *testing.T, open Open){
		"servers":                   testServers,
		"server rev":                testStale,
		"volumes":                   testVolumes,
		"snapshots":                 testSnapshots,
		"server filters":            testServerFilters,
		"lists of a scope":          testListsOfAScope,
		"snapshot filters":          testSnapshotFilters,
		"events":                    testEvents,
		"join tokens":               testJoinTokens,
		"revoked join tokens":       testRevokedJoinTokens,
		"grants on agents":          testGrants,
		"logins":                    testLogins,
		"scopes of operators":       testScopes,
		"certificates":              testCertificates,
		"documents":                 testDocuments,
		"audit":                     testAudit,
		"audit at once":             testAuditAtOnce,
		"newest certificates":       testNewestCertificates,
		"revocation among renewals": testRevocationAmongRenewals,
		"server ids":                testServerIDs,
		"server ids at once":        testServerIDsAtOnce,
		"pages":                     testPages,
		"text is compared bytewise": testText,
		"transactions":              testTransactions,
		"quiet":                     testQuiet,
		"reads see one state":       testReadIsASnapshot,
		"opened by several at once": testOpenAtOnce,
		"job rows":                  testJobRows,
		"job request ids":           testJobRequestIDs,
		"job list":                  testJobList,
		"job claim":                 testClaim,
		"job fence":                 testFence,
		"job fence holds others":    testFenceBlocks,
		"job attempts":              testAttempts,
		"retention":                 testRetention,
		"retention of many":         testRetentionOfMany,
		"retention of renewals":     testRetentionOfRenewals,
		"restored":                  testRestored,
		"subject locks":             testSubjects,
		"subject locks at once":     testSubjectsAtOnce,
		"an engine runs on it":      testEngine,
		"two engines run on it":     testTwoEngines,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t))
		})
	}
}

func write(t *testing.T, st *store.Store, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := st.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, st *store.Store, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	if err := st.Read(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func testServers(t *testing.T, open Open) {
	st := open(t)
	seen := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	s := inventory.Server{
		Name: "db1", State: inventory.ServerReady, Role: inventory.RoleReplica, Primary: "db0",
		Port: 3307, ServerID: 4294967295,
		Mounts: []inventory.Mount{{Volume: "v", Path: "/srv/mariadb", FSType: "xfs",
			FSUUID: "u"}},
		ReplicationConfigured: true,
		StateReason:           "it's \"fine\" \\ — ünïcode 🐬",
	}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx,
			&s)
	})
	if s.Rev != 1 || s.Created.IsZero() {
		t.Errorf("inserted as %+v", s)
	}
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &inventory.Server{Name: "db1"})
	})
	if !errors.Is(err, errs.AlreadyExists) {
		t.Errorf("a second one: %v", err)
	}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Touch(ctx, seen, "db1", "nobody")
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		revs, err := tx.Servers().Revs(ctx)
		if err != nil || !maps.Equal(revs, map[string]int64{"db1": 1}) {
			t.Errorf("revisions %v, %v", revs, err)
		}
		got, err := tx.Servers().Get(ctx, "db1")
		want := s
		want.LastSeen = seen
		if !slices.Equal(got.Mounts, want.Mounts) || got.StateReason != want.StateReason ||
			got.LastSeen != seen || got.Rev != 1 || got.ServerID != want.ServerID {
			t.Errorf("read %+v\nwant %+v", got, want)
		}
		return err
	})
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Servers().Get(ctx, "db1")
		if err != nil {
			return err
		}
		got.Primary = "db9"
		return tx.Servers().Update(ctx, &got)
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Servers().Get(ctx, "db1")
		if got.Rev != 2 || got.Primary != "db9" || got.LastSeen != seen {
			t.Errorf("updated to %+v", got)
		}
		names, err2 := tx.Servers().ReplicasOf(ctx, "db9")
		if !slices.Equal(names, []string{"db1"}) {
			t.Errorf("replicas of db9 = %v", names)
		}
		return errors.Join(err, err2)
	})
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Delete(ctx,
			"db1")
	})
	err = st.Write(t.Context(),
		func(ctx context.Context, tx *store.Tx) error { return tx.Servers().Delete(ctx, "db1") })
	if !errors.Is(err, inventory.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func testStale(t *testing.T, open Open) {
	st := open(t)
	s := inventory.Server{Name: "db1"}
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx,
			&s)
	})
	old := s
	s.Address = "a"
	write(t, st, func(ctx context.Context,
		tx *store.Tx) error {
		copied := s
		return tx.Servers().Update(ctx, &copied)
	})
	tries := 0
	err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		tries++
		copied := old
		return tx.Servers().Update(ctx, &copied)
	})
	if !errors.Is(err, inventory.ErrStale) || tries < 2 {
		t.Errorf("a stale update: %v after %d tries", err, tries)
	}
	gone := inventory.Server{Name: "nope", Rev: 1}
	err = st.Write(t.Context(),
		func(ctx context.Context, tx *store.Tx) error { return tx.Servers().Update(ctx, &gone) })
	if !errors.Is(err, inventory.ErrNotFound) {
		t.Errorf("an update of nothing: %v", err)
	}
}

func testVolumes(t *testing.T, open Open) {
	st := open(t)
	write(t, st, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.Volumes().Insert(ctx, &inventory.Volume{ID: "v1", Server: "db1", SizeBytes: 1 << 40,
				State: inventory.VolumeAttached}),
			tx.Volumes().Insert(ctx, &inventory.Volume{ID: "v2", Server: "db2", Snapshot: "s1",
				Job: "j"}),
		)
	})
	read(t, st, func(ctx context.Context, tx *store.Tx) error {
		for _, f := range []store.VolumeFilter{{Server: "db1"}, {State: inventory.VolumeAttached}} {
			if got, _, err := tx.Volumes().List(ctx, f, store.Page{}); err != nil ||
				len(got) != 1 || got[0].SizeBytes != 1<<40 {
				t.Errorf("list %+v = %+v, %v", f, got, err)
			}
		}
		for _, f := range []store.VolumeFilter{{Snapshot: "s1"}, {Job: "j"}} {
			if got, _, err := tx.Volumes().List(ctx, f, store.Page{}); err != nil ||
				len(got) != 1 || got[0].ID != "v2" {
				t.Errorf("list %+v = %+v, %v", f, got, err)
			}
		}
		return nil
	})
}

func testSnapshots(t *testing.T, open Open) {
	st := open(t)
	held := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	for _, id := range []string{"b", "a", "c"} {
		write(t, st, func(ctx context.Context, tx *store.Tx) error {
			return tx.Snapshots().Insert(ctx, &inventory.Snapshot{
				ID: id, Server: "db1", State: inventory.SnapshotPending,
				Point: consistentpoint.Point{BinlogPos: "0-1-5", At: held},
				Quiesce: inventory.Quiesce{
					Blocked: 7 * time.Millisecond},
			})
		})
	}
	var got []string
	page := store.Page{Size: 2}
	for {
		read(t, st, func(ctx context.Context, tx *store.Tx) error {
			list, next, err := tx.Snapshots().List(ctx, store.SnapshotFilter{Server: "db1"}, page)
			for i, s := range list {
				if s.Point.Position() != "0-1-5" || !s.Point.At.Equal(held) ||
					s.Quiesce.Blocked != 7*time.Millisecond {
					t.Errorf("point = %+v", s.Point)
				}
				if i > 0 && list[i-1].Created.Before(s.Created) {
					t.Errorf("%s is listed before the newer %s", list[i-1].ID, s.ID)
				}
				got = append(got, s.ID)
			}
			page.Token = next
			return err
		})
		if page.Token == "" {
			break
		}
	}
	if slices.Sort(got); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("listed %v", got)
	}
}
