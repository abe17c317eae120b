package fleet

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
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
	f := judged(t, MonitorConfig{Differs: func(_, volume string) ([]string, bool) {
		if volume != "v1" {
			t.Errorf("asked for volume %s", volume)
		}
		return different, known
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
	f := judged(t, MonitorConfig{ProvedSince: func(_, volume string, _ time.Time) bool {
		return proved && volume == "v1"
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
	proved = true
	expect("a filter, and a round over all tables", replication.LossySettings,
		replication.DataUnproved)
	f.last.Settings = nil
	expect("it was there until now", replication.DataUnproved)
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
