package fleet

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// pair is a primary db1 and a READY replica db2 that follows its history "one", both followed.
func (w *watched) pair() {
	w.t.Helper()
	w.add("db1", inventory.ServerReady, func(s *inventory.Server) { s.Port = 3306 })
	w.add("db2", inventory.ServerReady, func(s *inventory.Server) {
		s.Role, s.Primary, s.ReplicationConfigured = inventory.RoleReplica, "db1", true
		s.History = "one"
	})
	w.agents.set("db1", func(o *replication.Observed) {
		o.BinlogHistory, o.BinlogPos, o.Started = "one", "0-7-20", firstRun
		o.HistoryClaim = replication.Claim{ID: "one", File: "b.000001", Offset: 50, Digest: "d"}
	})
	w.agents.set("db2", func(o *replication.Observed) {
		o.ReadOnly, o.LogUpdates, o.BinlogHistory, o.Started = true, true, "its own", firstRun
		o.Connections = []replication.Connection{{PrimaryHost: "192.0.2.1", PrimaryPort: 3306,
			IORunning: "Yes", SQLRunning: "Yes", UsingGTID: "Slave_Pos", TLS: true,
			TLSVerify: true, ReadFile: "b.000001", ReadOffset: 60, ReceivedPos: "0-7-20"}}
	})
}

// tells has the agent of db1 answer with that history and reason, and gives what it was told.
func (w *watched) tells(history, reason string) <-chan replication.Known {
	told := make(chan replication.Known, 100)
	w.agents.mu.Lock()
	defer w.agents.mu.Unlock()
	w.agents.confirm = func(name string, known replication.Known) (string, error) {
		if name != "db1" {
			return "its own", nil
		}
		now := w.agents.now[name]
		now.BinlogHistory, now.HistoryReason = history, reason
		now.HistoryClaim.ID = history
		w.agents.now[name] = now
		told <- known
		return history, nil
	}
	return told
}

// lose has the agent of db1 lose its history.
func (w *watched) lose() {
	w.agents.set("db1", func(o *replication.Observed) { o.BinlogHistory = "" })
}

func (w *watched) next(told <-chan replication.Known) replication.Known {
	w.t.Helper()
	select {
	case known := <-told:
		return known
	case <-time.After(time.Minute):
		w.t.Fatal("the agent was told nothing within a minute")
		return replication.Known{}
	}
}

// states are all that a server was in, by its events.
func (w *watched) states(name string) (all []string) {
	w.t.Helper()
	if err := w.st.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		all = nil
		events, _, err := tx.Events().List(ctx, store.EventFilter{Subject: "servers/" + name},
			store.Page{Size: 100})
		for _, e := range events {
			all = append(all, e.Message)
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// A replica that works is not healthy when its primary's binary log is not what it follows.
func TestReplicaOfAnotherHistoryIsDegraded(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.add("db1", inventory.ServerReady, func(s *inventory.Server) { s.Port = 3306 })
	w.add("db2", inventory.ServerReady, func(s *inventory.Server) {
		s.Role, s.Primary, s.ReplicationConfigured = inventory.RoleReplica, "db1", true
		s.History = "one"
	})
	w.agents.set("db2", func(o *replication.Observed) {
		o.ReadOnly, o.LogUpdates = true, true
		o.Connections = []replication.Connection{{PrimaryHost: "192.0.2.1", PrimaryPort: 3306,
			IORunning: "Yes", SQLRunning: "Yes", UsingGTID: "Slave_Pos", TLS: true,
			TLSVerify: true}}
	})
	w.agents.set("db1", func(o *replication.Observed) { o.BinlogHistory = "two" })
	srv := w.await("db2", inventory.ServerDegraded, "another history")
	if srv.Findings[0].Code != "LINEAGE_BROKEN" {
		t.Errorf("findings %+v", srv.Findings)
	}
	w.agents.set("db1", func(o *replication.Observed) { o.BinlogHistory = "one" })
	w.await("db2", inventory.ServerReady, "")
}

// TestAReplicaStaysReadyWhileTheAgentOfItsPrimaryLostItsState has the log of the primary prove its
// history.
func TestAReplicaStaysReadyWhileTheAgentOfItsPrimaryLostItsState(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.pair()
	asked := w.tells("one", "")
	w.next(asked) // what was read
	w.lose()
	told := w.next(asked)
	if told.Claim.Offset != 50 || len(told.Reads) != 1 || told.Reads[0].Replica != "db2" ||
		told.Reads[0].Offset != 60 || told.Reads[0].GTID != "0-7-20" {
		t.Errorf("told %+v", told)
	}
	// It is judged after that, and nothing was ever said against it.
	w.agents.set("db2", func(o *replication.Observed) { o.ReadOnly = false })
	w.await("db2", inventory.ServerDegraded, "read-only")
	w.agents.set("db2", func(o *replication.Observed) { o.ReadOnly = true })
	w.await("db2", inventory.ServerReady, "")
	if all := w.states("db2"); len(all) != 2 {
		t.Errorf("it was %q", all)
	}
}

// TestAReplicaOfALostHistoryIsDegraded has the log of the primary lack what the replica has read.
func TestAReplicaOfALostHistoryIsDegraded(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.pair()
	w.next(w.tells("one", ""))
	w.tells("two", "db2 has read b.000001 up to offset 60, it ends at 50")
	w.lose()
	srv := w.await("db2", inventory.ServerDegraded, "another history since (db2 has read b.000001")
	if !slices.ContainsFunc(srv.Findings, func(f inventory.Finding) bool {
		return f.Code == "LINEAGE_BROKEN" && !f.Hint.Empty() && time.Since(f.Since) < time.Minute
	}) {
		t.Errorf("findings %+v", srv.Findings)
	}
}
