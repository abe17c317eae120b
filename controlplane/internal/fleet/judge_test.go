package fleet

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
)

// judged is a follower of a replica that replicates, as a start of the control plane begins it.
func judged(t *testing.T, cfg MonitorConfig, found ...inventory.Finding) *follower {
	t.Helper()
	cfg.UnreachableAfter = time.Hour
	f := newFollower(NewMonitor(cfg), inventory.Server{Name: "db2", ServerID: 7,
		State: inventory.ServerDegraded, Role: inventory.RoleReplica, Primary: "db1",
		DataVolume: "v1", History: "one", Findings: found})
	f.done, f.deadline = make(chan struct{}), time.AfterFunc(time.Hour, f.assess)
	t.Cleanup(func() { f.deadline.Stop() })
	f.last = replication.Observed{At: time.Now(), Status: replication.Status{Answers: true,
		ServerID: 7, ReadOnly: true, LogUpdates: true, Connections: []replication.Connection{{
			PrimaryHost: "192.0.2.1", PrimaryPort: 3306, IORunning: "Yes", SQLRunning: "Yes",
			UsingGTID: "Slave_Pos", TLS: true, TLSVerify: true}}}}
	return f
}

// TestFindingStaysUntilItIsJudgedAgain has a control plane that starts, and a primary whose MariaDB
// is down: neither says anything good of the replica.
func TestFindingStaysUntilItIsJudgedAgain(t *testing.T) {
	t.Parallel()
	primary := inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306}
	var different []string
	known := false
	f := judged(t, MonitorConfig{Differs: func(_, volume string) (replication.Differences,
		bool) {
		if volume != "v1" {
			t.Errorf("asked for volume %s", volume)
		}
		return replication.Differences{Found: different}, known
	}}, inventory.Finding{Code: "LINEAGE_BROKEN", Text: "another history"},
		inventory.Finding{Code: "DATA_DIFFERS", Text: "it differs in a.t"})
	codes := func() (all []replication.Code) {
		for _, found := range f.judge() {
			all = append(all, found.Code)
		}
		slices.Sort(all)
		return all
	}
	expect := func(when string, want ...replication.Code) {
		t.Helper()
		if got := codes(); !slices.Equal(got, want) {
			t.Errorf("%s: found %v, want %v", when, got, want)
		}
	}
	f.meet(primary, replication.Status{})
	expect("nothing is known", replication.DataDiffers, replication.LineageBroken)
	known, different = true, []string{"table a.t"}
	f.meet(primary, replication.Status{Answers: true, BinlogHistory: "two"})
	expect("both are known", replication.DataDiffers, replication.LineageBroken)
	different = nil
	f.meet(primary, replication.Status{})
	expect("the primary is down", replication.LineageBroken)
	f.meet(primary, replication.Status{Answers: true, BinlogHistory: "one"})
	expect("all is well")
	f.meet(primary, replication.Status{})
	expect("all was well")
}

// TestOneThatWasLeftJudgesNothing has its timer fire while it is left.
func TestOneThatWasLeftJudgesNothing(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	f.stop = func() {}
	close(f.done)
	f.primary = &inventory.Server{}
	f.leave()
	f.assess()
	if f.deadline.Stop() {
		t.Error("its timer is set again, for good")
	}
}

// TestDataStaysUnproved has a filter that was on, and is not any more: what it left out is missing.
func TestDataStaysUnproved(t *testing.T) {
	t.Parallel()
	proved := false
	f := judged(t, MonitorConfig{ProvedSince: func(s inventory.Server, _ time.Time) bool {
		return proved && s.DataVolume == "v1"
	}})
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	expect := func(when string, want ...replication.Code) {
		t.Helper()
		found := f.judge()
		if len(found) != len(want) {
			t.Fatalf("%s: found %v, want %v", when, found, want)
		}
		for i, code := range want {
			if found[i].Code != code || found[i].Hint.Empty() {
				t.Errorf("%s: found %v, want %v", when, found, want)
			}
		}
		now := time.Now()
		f.doubt(&f.srv, found, now)
		f.srv.Findings = findings(found, f.srv.Findings, now)
	}
	expect("nothing ever was")
	f.last.Settings = map[string]string{"replicate_ignore_db": "app"}
	expect("a filter", replication.LossySettings)
	began := f.srv.DataUnproved.Since
	expect("a filter still", replication.LossySettings, replication.DataUnproved)
	if !f.srv.DataUnproved.Since.Equal(began) {
		t.Error("its time moves while the filter is on: the record is written again and again")
	}
	proved = true
	expect("a filter, and a round over all tables", replication.LossySettings,
		replication.DataUnproved)
	f.last.Settings = nil
	expect("it was there until now", replication.DataUnproved)
	if !f.srv.DataUnproved.Since.After(began) {
		t.Error("a round that began while the filter was on would count")
	}
	proved = false
	expect("no filter", replication.DataUnproved)
	expect("still none", replication.DataUnproved)
	proved = true
	expect("all tables are equal")
	if _, is := f.srv.UnprovedData(); is {
		t.Error("the record says so still: the next round would count again")
	}
}

// TestDataIsUnprovedByWhatThePrimaryShows has a primary that changes reach a replica from in
// another way, also while it is down, and also once that is over.
func TestDataIsUnprovedByWhatThePrimaryShows(t *testing.T) {
	t.Parallel()
	zone := func(name, offsets string) map[string]string {
		return map[string]string{"system_time_zone": name, "system_time_zone_offsets": offsets}
	}
	healthy := func() replication.Status {
		return replication.Status{Answers: true, BinlogHistory: "one", Settings: zone("UTC", "a")}
	}
	for name, spoil := range map[string]func(*replication.Status){
		"a filter of the binary log": func(s *replication.Status) {
			s.Settings["binlog_ignore_db"] = "app"
		},
		"no binary log any more": func(s *replication.Status) { s.LogBin = true },
		"another time zone":      func(s *replication.Status) { s.Settings = zone("JST", "b") },
	} {
		f := judged(t, MonitorConfig{})
		f.last.Settings = zone("GMT", "a")
		expect := func(when string, want ...replication.Code) {
			t.Helper()
			found := f.judge()
			var codes []replication.Code
			for _, one := range found {
				codes = append(codes, one.Code)
				if one.Hint.Empty() {
					t.Errorf("%s, %s: no hint for %s", name, when, one.Text)
				}
			}
			if !slices.Equal(codes, want) {
				t.Errorf("%s, %s: found %v, want %v", name, when, codes, want)
			}
			f.doubt(&f.srv, found, time.Now())
			f.srv.Findings = findings(found, f.srv.Findings, time.Now())
		}
		primary := inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306}
		f.meet(primary, healthy())
		expect("all is well")
		spoiled := healthy()
		spoil(&spoiled)
		f.meet(primary, spoiled)
		expect("it is so", replication.LossySettings)
		f.meet(primary, replication.Status{})
		expect("the primary is down", replication.LossySettings, replication.DataUnproved)
		f.meet(primary, healthy())
		expect("it is over", replication.DataUnproved)
	}
}

// TestWhatLosesChangesCountsAtOnce, also where it is over before an illness counts: what was lost
// is not back.
func TestWhatLosesChangesCountsAtOnce(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{DegradedAfter: time.Hour})
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306}, replication.Status{})
	for _, test := range []struct {
		change func()
		at     bool
	}{
		{func() { f.last.Connections[0].SQLRunning = "No" }, false},
		{func() { f.last.Connections[0].SQLErrno = 1205 }, false}, // it gave up on a lock wait
		{func() { f.last.Connections[0].SQLErrno = 1032 }, true},
	} {
		test.change()
		f.assess()
		if v := f.verdict(inventory.ServerReady, time.Now()); v.decided != test.at ||
			len(f.found) != 1 {
			t.Errorf("found %v: decided %t", f.found, v.decided)
		}
	}
	for _, state := range []inventory.ServerState{inventory.ServerProvisioning,
		inventory.ServerFailed} {
		if f.verdict(state, time.Now()).decided {
			t.Errorf("it counts while it is %s", state)
		}
	}
}

// TestNoVerdictIsOlderThanTheRecord has a verification note that data differs, between the latest
// judgement and its record.
func TestNoVerdictIsOlderThanTheRecord(t *testing.T) {
	t.Parallel()
	st := storetest.New(t)
	f := judged(t, MonitorConfig{Store: st, Log: slog.New(slog.DiscardHandler)})
	f.m.followed["db2"] = f
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	srv := f.srv
	srv.DoubtData("DATA_DIFFERS", "table a.t", inventory.VerifyFull, time.Now())
	if err := st.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.Servers().Insert(ctx, &srv)
	}); err != nil {
		t.Fatal(err)
	}
	recorded := func() (srv inventory.Server) {
		t.Helper()
		f.m.changes.mark("db2")
		if err := f.m.recordSome(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := st.Read(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
			srv, err = tx.Servers().Get(ctx, "db2")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return srv
	}
	srv = recorded()
	if srv.State == inventory.ServerReady || len(srv.Findings) != 1 ||
		srv.Findings[0].Code != string(replication.DataUnproved) {
		t.Errorf("it is %s, found %+v", srv.State, srv.Findings)
	}
	f.last.Settings = map[string]string{"replicate_ignore_db": "app"}
	if u, is := recorded().UnprovedData(); !is || u.Code != string(replication.LossySettings) {
		t.Errorf("a filter left on record: %+v", u)
	}
}
