package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// TestWhatComesAndGoesIsNotHealthy has a sample a second: + is a healthy one, c one with an IO
// thread that connects, w one that is not read-only, and a dot is a second without a sample. Each
// pattern is repeated for two minutes.
func TestWhatComesAndGoesIsNotHealthy(t *testing.T) {
	t.Parallel()
	const ready, degraded = inventory.ServerReady, inventory.ServerDegraded
	for _, test := range []struct {
		name, begin, again string
		end                inventory.ServerState
		changes            int // of the state, at most
	}{
		{"healthy", "", "+", ready, 0},
		{"one blink", "c", "+", ready, 0},
		{"an illness that ends", "cccccccccc", "+", ready, 2},
		{"two illnesses, far apart", "ccccc" + strings.Repeat("+", 70) + "ccccc", "+", ready, 4},
		{"every other second", "", "c+", degraded, 1},
		{"two findings in turns", "", "cw", degraded, 1},
		{"one second of three", "", "++c", degraded, 1},
		{"one second of five", "", "c++++", degraded, 1},
		{"a good second of four", "", "ccc+", degraded, 2},
		{"ten seconds each", "", "cccccccccc++++++++++", degraded, 7},
		{"it came and went, and is well", strings.Repeat("c+", 30), "+", ready, 2},
		{"it answers now and then", "", "+......", inventory.ServerUnreachable, 80},
	} {
		cfg := MonitorConfig{DegradedAfter: 3 * time.Second}
		f := judged(t, cfg)
		f.m.cfg.UnreachableAfter = 4 * time.Second
		f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
			replication.Status{Answers: true, BinlogHistory: "one"})
		begin := time.Now()
		f.course, f.last.At, f.heard = course{since: begin}, begin, begin
		state, changes, wellOnce := ready, 0, false
		for i, kind := range test.begin + strings.Repeat(test.again, 240/len(test.again)) {
			at := begin.Add(time.Duration(i) * time.Second)
			if kind != '.' {
				f.last.At, f.heard = at, at
				f.last.ReadOnly, f.last.Connections[0].IORunning = kind != 'w', "Yes"
				if kind == 'c' {
					f.last.Connections[0].IORunning = "Connecting"
				}
				f.found = f.judge()
			}
			f.observe(at)
			v := f.verdict(state, at)
			if v.decided && v.state != state {
				state = v.state
				changes++
			}
			if state == degraded && len(v.found) == 0 && v.decided {
				t.Fatalf("%s: after %d s DEGRADED without a finding", test.name, i)
			}
			if i > 100 && state == ready {
				wellOnce = true
			}
		}
		if state != test.end || changes > test.changes {
			t.Errorf("%s: %s after %d changes, want %s, %d", test.name, state, changes, test.end,
				test.changes)
		}
		if test.end != ready && wellOnce {
			t.Errorf("%s: READY once", test.name)
		}
	}
}

// TestWhatComesAndGoesIsDampedAtOnceToo has no time that an illness is to last for: each first one
// counts, and no sample after it is an event of its own.
func TestWhatComesAndGoesIsDampedAtOnceToo(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]struct {
		end     inventory.ServerState
		changes int
	}{
		"i+++++++++": {inventory.ServerReady, 24}, // ten seconds apart
		"i+":         {inventory.ServerDegraded, 3},
		"ii+":        {inventory.ServerDegraded, 3},
		"+":          {inventory.ServerReady, 0},
	} {
		cfg := MonitorConfig{}
		begin := time.Now()
		c, state, changes := course{since: begin}, inventory.ServerReady, 0
		for i := range 240 {
			at, ill := begin.Add(time.Duration(i)*time.Second), pattern[i%len(pattern)] == 'i'
			c.observe(at, ill, cfg.calm())
			v := decide(cfg, state, facts{ill: ill, illFor: at.Sub(c.since),
				unsettled: !c.settled(cfg.calm())})
			if ill && v.state != inventory.ServerDegraded {
				t.Fatalf("%s: %s at second %d", pattern, v.state, i)
			}
			if v.decided && v.state != state {
				state = v.state
				changes++
			}
		}
		if changes > want.changes || len(pattern) < 5 && state != want.end {
			t.Errorf("%s: %s after %d changes, want %s, %d", pattern, state, changes, want.end,
				want.changes)
		}
	}
}

func TestWhatComesAndGoesIsSaidSoOnce(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	f.course.relapses = oftenIll
	f.shown = []replication.Finding{{Text: "its data differs"}}
	f.shown = f.degradedBy()
	if got := f.degradedBy()[0].Text; got != "its data differs; it comes and goes" {
		t.Errorf("%q", got)
	}
}

// TestNamesakeIsFound has a primary that lists another replica by the server_id, as one of two that
// throw each other out in turns.
func TestNamesakeIsFound(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	primary := inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306}
	lists := func(host string) bool {
		f.meet(primary, replication.Status{Answers: true, BinlogHistory: "one",
			Replicas: []replication.Connected{{ServerID: 7, Host: host}}})
		found := f.judge()
		if len(found) == 0 {
			return false
		}
		if found[0].Code != replication.ReplicationIDTaken ||
			!strings.Contains(found[0].Text, "clone") {
			t.Errorf("%s is listed: %+v", host, found)
		}
		return true
	}
	if lists("db2") {
		t.Error("it is its own namesake")
	}
	for _, host := range []string{"clone", "db2"} {
		if !lists(host) {
			t.Errorf("%s is connected, and clone in turns with it: nothing is found", host)
		}
	}
	f.twinSeen = f.twinSeen.Add(-namesakeStays)
	if lists("db2") {
		t.Error("a namesake that is long gone is found")
	}
}

// TestNamesakeOfTheFleetIsFound has another replica with the server_id, that the primary does not
// list now.
func TestNamesakeOfTheFleetIsFound(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	for _, srv := range []inventory.Server{{Name: "db1", Address: "192.0.2.1", Port: 3306},
		{Name: "clone", Primary: "db1", ServerID: 8}, {Name: "other", Primary: "db9"}} {
		one := newFollower(f.m, srv)
		one.last.Status = replication.Status{Answers: true, ServerID: 7, BinlogHistory: "one"}
		f.m.followed[srv.Name] = one
	}
	f.m.followed[f.name] = f
	f.m.introduce()
	found := f.judge()
	if len(found) != 1 || found[0].Code != replication.ReplicationIDTaken ||
		!strings.Contains(found[0].Text, "clone") {
		t.Errorf("%+v", found)
	}
}

// TestLostConnectionNamesWhatSetsItUpAgain has a replica without its master.info.
func TestLostConnectionNamesWhatSetsItUpAgain(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{Reconnect: func(job string) []errs.Action {
		return []errs.Action{errs.Call("RetryJob", "name", "jobs/"+job)}
	}})
	f.srv.Job = "7"
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	f.last.Connections = nil
	found := f.judge()
	if len(found) != 1 || len(found[0].Hint.Actions) != 2 ||
		found[0].Hint.Actions[0].Args["name"] != "jobs/7" ||
		found[0].Hint.Actions[1].Method != "RebuildReplica" {
		t.Errorf("%+v", found)
	}
}

// TestRefusedReplicaIsToldToRotate has a replica that its primary refuses, and one whose
// certificate or whose primary's is not accepted: none of them is broken.
func TestRefusedReplicaIsToldToRotate(t *testing.T) {
	t.Parallel()
	for _, errno := range []int{1045, 2026} {
		f := judged(t, MonitorConfig{Reconnect: func(job string) []errs.Action {
			return []errs.Action{errs.Call("RetryJob", "name", "jobs/"+job)}
		}})
		f.srv.Job = "7"
		f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
			replication.Status{Answers: true, BinlogHistory: "one"})
		conn := &f.last.Connections[0]
		conn.IORunning, conn.IOErrno, conn.IOError = "Connecting", errno, "refused"
		found := f.judge()
		if len(found) != 1 || found[0].Code != replication.ReplicationRefused {
			t.Fatalf("%d: %+v", errno, found)
		}
		var calls []string
		for _, action := range found[0].Hint.Actions {
			calls = append(calls, action.Method)
		}
		if got := strings.Join(calls, " "); got !=
			"RotateReplicaCredentials RetryJob RebuildReplica" {
			t.Errorf("%d: %s", errno, got)
		}
	}
}

// TestLostVolumeNamesWhatMountsItAgain has a server whose device was pulled.
func TestLostVolumeNamesWhatMountsItAgain(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{Remount: func(job string) []errs.Action {
		return []errs.Action{errs.Call("RetryJob", "name", "jobs/"+job)}
	}})
	f.srv.Job = "7"
	f.meet(inventory.Server{Name: "db1", Address: "192.0.2.1", Port: 3306},
		replication.Status{Answers: true, BinlogHistory: "one"})
	f.last.Volume.DeviceGone = true
	found := f.judge()
	if len(found) != 1 || len(found[0].Hint.Actions) != 1 ||
		found[0].Hint.Actions[0].Args["name"] != "jobs/7" {
		t.Errorf("%+v", found)
	}
}

// TestWrongClockIsNamedWhileSilent has a host whose agent ended after its clock was found to be
// wrong.
func TestWrongClockIsNamedWhileSilent(t *testing.T) {
	t.Parallel()
	f := judged(t, MonitorConfig{})
	f.srv.Findings = []inventory.Finding{{Code: string(replication.WrongClock), Text: "apart"},
		{Code: string(replication.MariaDBDown)}}
	f.heard = f.heard.Add(-time.Hour)
	v := f.verdict(inventory.ServerDegraded, time.Now())
	if len(v.found) != 2 || v.found[0].Code != replication.AgentSilent ||
		v.found[1].Code != replication.WrongClock || v.found[1].Text != "apart" {
		t.Errorf("%+v", v.found)
	}
}
