package fleet

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// group is a primary, db1, with a replica, db2, that a monitor follows by hand.
type group struct {
	t        *testing.T
	m        *Monitor
	asked    []replication.Known // what was confirmed
	answer   string
	fault    error
	db1, db2 *follower
}

func newGroup(t *testing.T, st *store.Store) *group {
	t.Helper()
	g := &group{t: t, answer: "one"}
	said := &agents{confirm: func(name string, known replication.Known) (string, error) {
		if name != "db1" {
			t.Errorf("asked %s", name)
		}
		g.asked = append(g.asked, known)
		return g.answer, g.fault
	}}
	g.m = NewMonitor(MonitorConfig{Store: st, Agents: said, UnreachableAfter: time.Hour,
		Log: slog.New(slog.DiscardHandler)})
	if err := g.m.readLedgers(t.Context()); err != nil {
		t.Fatal(err)
	}
	primary := inventory.Server{Name: "db1", Role: inventory.RolePrimary,
		State: inventory.ServerReady, Address: "192.0.2.1", Port: 3306}
	g.db1 = newFollower(g.m, primary)
	g.db2 = newFollower(g.m, inventory.Server{Name: "db2", Role: inventory.RoleReplica,
		State: inventory.ServerReady, Primary: "db1", History: "one"})
	g.m.followed = map[string]*follower{"db1": g.db1, "db2": g.db2}
	g.m.rostered.Store(true)
	return g
}

var firstRun = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// primary is what the agent of db1 tells, with a history when it has one.
func (g *group) primary(history, file string, offset int64, run time.Time) {
	st := replication.Status{Answers: true, LogBin: true, BinlogFile: file, Started: run,
		BinlogHistory: history, BinlogPos: "0-1-20"}
	if history != "" {
		st.HistoryClaim = replication.Claim{ID: history, File: file, Offset: offset, Digest: "d"}
	}
	g.db1.take(replication.Observed{At: time.Now(), Status: st})
}

// replica is what the agent of db2 tells.
func (g *group) replica(file string, offset int64) {
	g.db2.take(replication.Observed{At: time.Now(), Status: replication.Status{Answers: true,
		Connections: []replication.Connection{{PrimaryHost: "192.0.2.1",
			PrimaryPort: 3306, UsingGTID: "Slave_Pos", ReadFile: file, ReadOffset: offset,
			ReceivedPos: "0-1-20"}}}})
}

// confirms gives all that is asked now.
func (g *group) confirms() []replication.Known {
	g.t.Helper()
	g.asked = nil
	g.m.ledgers.of("db1").asked = time.Time{}
	g.m.confirmHistories(g.t.Context(), func(call func()) { call() })
	return g.asked
}

// claimAt gives the one question that there has to be, and its claim to be at that place.
func (g *group) claimAt(when, file string, offset int64, reads ...string) {
	g.t.Helper()
	asked := g.confirms()
	if len(asked) != 1 {
		g.t.Fatalf("%s: %d questions", when, len(asked))
	}
	var files []string
	for _, r := range asked[0].Reads {
		files = append(files, r.File)
	}
	if c := asked[0].Claim; c.File != file || c.Offset != offset || !slices.Equal(files, reads) {
		g.t.Errorf("%s: %+v, read %v", when, c, files)
	}
}

func (g *group) quiet(when string) {
	g.t.Helper()
	if asked := g.confirms(); len(asked) > 0 {
		g.t.Errorf("%s: asked %+v", when, asked)
	}
}

func open(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// TestAHistoryIsConfirmed has an agent lose its state, and a MariaDB that runs anew: what is known
// of its binary log counts until the log was compared with it.
func TestAHistoryIsConfirmed(t *testing.T) {
	t.Parallel()
	g := newGroup(t, open(t))
	g.primary("one", "b.000001", 50, firstRun)
	g.quiet("nothing is to be confirmed")
	g.primary("one", "b.000001", 60, firstRun)
	g.replica("b.000001", 61)
	g.claimAt("something was read", "b.000001", 60, "b.000001")
	g.quiet("all is confirmed")

	g.primary("", "b.000001", 0, firstRun)
	g.replica("b.000001", 70)
	g.claimAt("the agent lost its state", "b.000001", 60, "b.000001")
	g.answer = ""
	g.claimAt("it cannot tell yet", "b.000001", 60, "b.000001")
	g.answer = "one"
	g.fault = errors.New("no route")
	g.claimAt("it does not answer", "b.000001", 60, "b.000001")
	g.fault = nil

	// A machine that was put back has an agent that knows no better.
	later := firstRun.Add(time.Hour)
	g.primary("one", "b.000001", 30, later)
	g.replica("b.000002", 4)
	g.claimAt("MariaDB runs anew", "b.000001", 60, "b.000001", "b.000002")
	g.primary("one", "b.000002", 10, later)
	g.quiet("the run is confirmed")
	g.replica("b.000003", 4)
	g.claimAt("a later log is read", "b.000002", 10, "b.000002", "b.000003")
	g.primary("one", "b.000003", 40, later)
	g.primary("one", "b.000003", 30, later)
	g.claimAt("its agent went back", "b.000003", 40, "b.000003")

	g.answer = "two"
	g.primary("", "b.000003", 0, later)
	g.claimAt("the log lacks it", "b.000003", 40, "b.000003")
	g.primary("two", "b.000003", 80, later)
	g.replica("b.000003", 90) // of the history that is lost
	g.quiet("another history began")
	g.primary("", "b.000003", 0, later)
	g.claimAt("the agent lost its state again", "b.000003", 80)
}

// TestAHistoryIsNotConfirmedBlindly has a control plane that starts: what replicas have read has to
// be known first, as far as it can be.
func TestAHistoryIsNotConfirmedBlindly(t *testing.T) {
	t.Parallel()
	st := open(t)
	before := newGroup(t, st)
	before.primary("one", "b.000001", 50, firstRun)
	before.replica("b.000001", 60)
	if err := before.m.keepLedgers(t.Context()); err != nil {
		t.Fatal(err)
	}

	g := newGroup(t, st)
	g.primary("", "b.000001", 0, firstRun)
	g.quiet("the replica was not heard yet")
	g.replica("b.000002", 4)
	g.claimAt("it was", "b.000001", 50, "b.000001", "b.000002")

	g = newGroup(t, st)
	g.primary("", "b.000001", 0, firstRun)
	g.db2.heard = time.Now().Add(-2 * time.Hour)
	g.claimAt("it is silent", "b.000001", 50, "b.000001")

	g = newGroup(t, st)
	g.primary("one", "b.000002", 30, firstRun.Add(time.Hour))
	g.claimAt("nothing is confirmed of this process", "b.000001", 50, "b.000001")
}

// TestAHistoryOfBeforeARestore is confirmed once all was heard, and is not given to an agent that
// has none. It is restored on a host whose clock is behind.
func TestAHistoryOfBeforeARestore(t *testing.T) {
	t.Parallel()
	var behind time.Duration
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db"),
		Now: func() time.Time { return time.Now().Add(-behind) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	before := newGroup(t, st)
	before.primary("one", "b.000001", 50, firstRun)
	if err := before.m.keepLedgers(t.Context()); err != nil {
		t.Fatal(err)
	}
	behind = 10 * time.Minute
	if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Restored(ctx, time.Now())
	}); err != nil {
		t.Fatal(err)
	}

	g := newGroup(t, st)
	g.primary("", "b.000002", 0, firstRun)
	g.replica("b.000002", 4)
	g.claimAt("the agent has none", "", 0)

	g = newGroup(t, st)
	g.primary("one", "b.000002", 30, firstRun)
	g.quiet("the replica was not heard yet")
	g.replica("b.000002", 4)
	if err := g.m.keepLedgers(t.Context()); err != nil { // that proves nothing
		t.Fatal(err)
	}
	g = newGroup(t, st)
	g.primary("one", "b.000002", 30, firstRun)
	g.replica("b.000002", 4)
	g.claimAt("it was", "b.000001", 50, "b.000002")
	g.primary("", "b.000002", 0, firstRun)
	g.claimAt("its agent lost it since", "b.000001", 50, "b.000002")
}

// TestAnAgentThatKnowsNoHistories is asked once in a run.
func TestAnAgentThatKnowsNoHistories(t *testing.T) {
	t.Parallel()
	g := newGroup(t, open(t))
	g.primary("one", "b.000001", 50, firstRun)
	g.fault = errs.New(errs.Unimplemented, errorsv1.Reason_REASON_UNSPECIFIED, "no such method")
	g.primary("one", "b.000002", 50, firstRun.Add(time.Hour))
	g.claimAt("another run", "b.000001", 50)
	g.quiet("it was asked")
}

// TestLedgersOfServersThatAreGone are removed: a server of the same name has another binary log.
func TestLedgersOfServersThatAreGone(t *testing.T) {
	t.Parallel()
	st := open(t)
	g := newGroup(t, st)
	g.primary("one", "b.000001", 50, firstRun)
	kept := func() (docs map[string]string) {
		t.Helper()
		if err := g.m.keepLedgers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			docs, err = tx.Histories().All(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return docs
	}
	first := kept()
	if len(first) != 1 || first["db1"] == "" {
		t.Fatalf("kept %v", first)
	}
	g.primary("one", "b.000001", 60, firstRun)
	if again := kept(); again["db1"] != first["db1"] {
		t.Errorf("written again within a minute: %v", again)
	}
	g.m.ledgers.of("db1").kept = time.Now().Add(-keepEvery)
	if again := kept(); again["db1"] == first["db1"] {
		t.Errorf("not written again after a minute: %v", again)
	}
	delete(g.m.followed, "db1")
	if docs := kept(); len(docs) > 0 || g.m.ledgers.of("db1").known.Claim.ID != "" {
		t.Errorf("kept of a server that is gone: %v", docs)
	}
}
