package fleet

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// TestWhatAnAgentNotedLeavesItsReplicaUnproved has it noted while the control plane was away, with
// the record of an earlier look.
func TestWhatAnAgentNotedLeavesItsReplicaUnproved(t *testing.T) {
	t.Parallel()
	mark := func(number int64) replication.Mark {
		return replication.Mark{Number: number, Text: "sql_slave_skip_counter left events out"}
	}
	seen := inventory.MarksSeen{Record: "a", Number: 3, Volume: "v1"}
	for name, test := range map[string]struct {
		was  inventory.MarksSeen
		now  replication.Marks
		role inventory.Role
		seen inventory.MarksSeen
		why  string // it is unproved; empty when it is not
	}{
		"an agent of an earlier version": {was: seen, seen: seen},
		"nothing new": {was: seen, now: replication.Marks{Record: "a", Last: 3},
			seen: seen},
		"a mark": {was: seen, now: replication.Marks{Record: "a", Last: 5,
			All: []replication.Mark{mark(3), mark(4), mark(5)}},
			why:  "left events out (and 1 more)",
			seen: inventory.MarksSeen{Record: "a", Number: 5, Volume: "v1"}},
		"one that was dropped": {was: seen, now: replication.Marks{Record: "a", Last: 5},
			why:  "changes may be missing",
			seen: inventory.MarksSeen{Record: "a", Number: 5, Volume: "v1"}},
		"a record that was lost": {was: seen, now: replication.Marks{Record: "b"},
			why: "lost what it had noted", seen: inventory.MarksSeen{Record: "b", Volume: "v1"}},
		"one that was put back": {was: seen, now: replication.Marks{Record: "a", Last: 2},
			why:  "an older record",
			seen: inventory.MarksSeen{Record: "a", Number: 2, Volume: "v1"}},
		"the first look": {now: replication.Marks{Record: "a", Last: 3},
			seen: inventory.MarksSeen{Record: "a", Number: 3, Volume: "v1"}},
		"the first look, and a mark": {now: replication.Marks{Record: "a", Last: 3,
			All: []replication.Mark{mark(3)}}, why: "left events out",
			seen: inventory.MarksSeen{Record: "a", Number: 3, Volume: "v1"}},
		"another copy": {was: inventory.MarksSeen{Record: "a", Number: 3, Volume: "v0"},
			now: replication.Marks{Record: "b", Last: 1}, seen: inventory.MarksSeen{Record: "b",
				Number: 1, Volume: "v1"}},
		"another copy, and a mark since": {was: inventory.MarksSeen{Record: "a", Number: 3,
			Volume: "v0"}, now: replication.Marks{Record: "a", Last: 4,
			All: []replication.Mark{mark(4)}}, why: "left events out",
			seen: inventory.MarksSeen{Record: "a", Number: 4, Volume: "v1"}},
		"a primary": {role: inventory.RolePrimary, now: replication.Marks{Record: "a", Last: 1,
			All: []replication.Mark{mark(1)}},
			seen: inventory.MarksSeen{Record: "a", Number: 1, Volume: "v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := storetest.New(t)
			f := judged(t, MonitorConfig{Store: st, Log: slog.New(slog.DiscardHandler)})
			f.m.followed["db2"] = f
			f.srv.State, f.srv.MarksSeen = inventory.ServerReady, test.was
			if test.role != "" {
				f.srv.Role, f.srv.Primary = test.role, ""
				f.last.Connections, f.last.ReadOnly, f.last.LogBin = nil, false, true
			}
			srv := f.srv
			if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				return tx.Servers().Insert(ctx, &srv)
			}); err != nil {
				t.Fatal(err)
			}
			f.last.Marks = test.now
			f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
				replication.Status{Answers: true, BinlogHistory: "one"})
			for range 3 { // the mark, the finding, and nothing more
				if err := f.m.recordSome(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.assess()
			}
			got := f.record()
			u, unproved := got.UnprovedData()
			if unproved != (test.why != "") || !strings.Contains(u.Why, test.why) ||
				got.MarksSeen != test.seen {
				t.Fatalf("on record: %+v, %+v", u, got.MarksSeen)
			}
			if !unproved {
				return
			}
			if got.State != inventory.ServerDegraded {
				t.Errorf("it is %s with %v", got.State, f.found)
			}
			got.ProveData(inventory.Verification{Level: inventory.VerifyFull}, time.Now())
			f.know(got)
			if _, still := f.record().UnprovedData(); still || f.marks(got, time.Now()).news {
				t.Error("a proof of all data does not end it")
			}
		})
	}
}

// TestRowsThatAPrimaryLostLeaveItsReplicasUnproved has the primary and its replica change in one
// round, and says it once.
func TestRowsThatAPrimaryLostLeaveItsReplicasUnproved(t *testing.T) {
	t.Parallel()
	crash := func(number int64, lost bool) replication.Marks {
		return replication.Marks{Record: "a", Last: number, All: []replication.Mark{
			{Number: number, Text: "MariaDB crashed", LostRows: lost}}}
	}
	for name, test := range map[string]struct {
		was  inventory.MarksSeen
		now  replication.Marks
		lost bool
	}{
		"lost rows": {now: crash(4, true), lost: true},
		"again": {was: inventory.MarksSeen{Record: "a", Number: 3}, now: crash(4, true),
			lost: true},
		"known": {was: inventory.MarksSeen{Record: "a", Number: 4},
			now: crash(4, true)},
		"another kind of mark": {now: crash(4, false)},
		"a record that was lost": {was: inventory.MarksSeen{Record: "b", Number: 3},
			now: replication.Marks{Record: "a"}},
		"lost, and lost rows": {was: inventory.MarksSeen{Record: "b", Number: 9},
			now: crash(4, true), lost: true},
		"put back, with lost rows": {was: inventory.MarksSeen{Record: "a", Number: 9},
			now: crash(4, true), lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := storetest.New(t)
			m := NewMonitor(MonitorConfig{Store: st, Log: slog.New(slog.DiscardHandler),
				UnreachableAfter: time.Hour})
			for _, srv := range []inventory.Server{
				{Name: "db1", Role: inventory.RolePrimary, State: inventory.ServerReady,
					DataVolume: "v0", MarksSeen: test.was},
				{Name: "db2", Role: inventory.RoleReplica, Primary: "db1", DataVolume: "v1",
					State: inventory.ServerReady},
				{Name: "db3", Role: inventory.RoleReplica, Primary: "db2", DataVolume: "v2",
					State: inventory.ServerReady},
			} {
				if srv.MarksSeen.Record != "" {
					srv.MarksSeen.Volume = srv.DataVolume
				}
				f := newFollower(m, srv)
				f.done, f.deadline = make(chan struct{}), time.AfterFunc(time.Hour, f.assess)
				t.Cleanup(func() { f.deadline.Stop() })
				f.last = replication.Observed{At: time.Now()}
				m.followed[srv.Name] = f
				if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
					return tx.Servers().Insert(ctx, &srv)
				}); err != nil {
					t.Fatal(err)
				}
				f.srv = srv
			}
			primary := m.followed["db1"]
			primary.last.Marks = test.now
			m.changes.mark("db1", "db2", "db3")
			for range 3 {
				if err := m.recordSome(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for name, want := range map[string]bool{"db1": false, "db2": test.lost, "db3": false} {
				u, is := m.followed[name].record().UnprovedData()
				if is != want || is && !strings.Contains(u.Why, "MariaDB crashed") {
					t.Errorf("%s: unproved: %v, %+v", name, is, u)
				}
			}
			if primary.marks(primary.record(), time.Now()).news {
				t.Error("it is news again")
			}
		})
	}
}

// TestMarksThatAnotherControlPlaneHeard has the record further than what this one heard last. That
// is news only when the agent says so again, and none when it does not answer.
func TestMarksThatAnotherControlPlaneHeard(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	f.srv.State = inventory.ServerReady
	f.last.Marks = replication.Marks{Record: "a", Last: 3}
	for name, seen := range map[string]inventory.MarksSeen{
		"a mark":         {Record: "a", Number: 5, Volume: "v1"},
		"another record": {Record: "b", Number: 1, Volume: "v1"},
		"another volume": {Record: "a", Number: 1, Volume: "v0"},
	} {
		srv := f.record()
		srv.MarksSeen = seen
		f.know(srv)
		if m := f.marks(srv, time.Now()); m.news || m.why != "" {
			t.Errorf("%s: taken for news before the agent was heard: %+v", name, m)
		}
		f.last.At = time.Now()
		if m := f.marks(srv, time.Now()); !m.news {
			t.Errorf("%s: no news after the agent was heard", name)
		}
		if m := f.marks(srv, time.Now().Add(2*f.m.cfg.UnreachableAfter)); m.news {
			t.Errorf("%s: news of an agent that is silent: %+v", name, m)
		}
	}
}
