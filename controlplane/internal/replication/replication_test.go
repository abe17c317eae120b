package replication_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/gtid"
)

func running() replication.Connection {
	return replication.Connection{
		PrimaryHost: "10.0.0.1", PrimaryPort: 3306, User: "us_db2", IORunning: "Yes",
		SQLRunning: "Yes", UsingGTID: "Slave_Pos", TLS: true, TLSVerify: true,
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	with := func(change func(c *replication.Connection)) replication.Connection {
		c := running()
		change(&c)
		return c
	}
	io := func(state string, errno int, text string) replication.Connection {
		return with(func(c *replication.Connection) {
			c.IORunning, c.IOErrno, c.IOError = state,
				errno, text
		})
	}
	sql := func(errno int, text string) replication.Connection {
		return with(func(c *replication.Connection) {
			c.SQLRunning, c.SQLErrno, c.SQLError = "No",
				errno, text
		})
	}
	cases := map[string]struct {
		conn replication.Connection
		want replication.Threads
	}{
		"both run": {running(), replication.Running},
		"both are off without an error": {with(func(c *replication.Connection) {
			c.IORunning,
				c.SQLRunning = "No", "No"
		}), replication.Stopped},
		"the SQL thread alone is off": {sql(0, ""), replication.Stopped},
		"it connects":                 {io("Connecting", 0, ""), replication.Connecting},
		"it prepares":                 {io("Preparing", 0, ""), replication.Connecting},
		"the primary is down": {io("Connecting", 2003, "Can't connect"),
			replication.Connecting},
		"the primary went away and it is off": {io("No", 2013, "Lost connection"),
			replication.Connecting},
		"wrong password": {io("Connecting", 1045, "Access denied"),
			replication.AccountRefused},
		"no privilege": {io("No", 1227,
			"Access denied; you need REPLICATION SLAVE"), replication.AccountRefused},
		"password expired": {io("No", 1820,
			"You must SET PASSWORD before executing this statement"), replication.AccountRefused},
		"may not register": {io("No", 1597, "Master command "+
			"COM_REGISTER_SLAVE failed: Access denied for user 'us_r1'@'%' (using password: YES) "+
			"(Errno: 1045)"), replication.AccountRefused},
		"lost while it registers": {io("No", 1597,
			"Master command COM_REGISTER_SLAVE failed: Lost connection (Errno: 2013)"),
			replication.Connecting},
		"a command of unknown meaning": {io("No", 1597,
			"Master command COM_REGISTER_SLAVE failed"), replication.Broken},
		"the primary's certificate": {io("Connecting", 2026, "TLS/SSL error"),
			replication.HandshakeFailed},
		"a handshake that fails while it registers": {io("No", 1597,
			"Master command COM_REGISTER_SLAVE failed: TLS/SSL error (Errno: 2026)"),
			replication.HandshakeFailed},
		"binary log purged": {io("No", 1236,
			"Could not find GTID state requested by slave in any binlog files"),
			replication.BinlogsGone},
		"another replica with this id": {
			io("No", 1236, "A slave with the same server_uuid/server_id as this slave has "+
				"connected to the master"), replication.ServerIDTaken},
		"the primary has this id": {io("No", 1593, "equal MySQL server ids"),
			replication.ServerIDTaken},
		"killed":        {sql(1927, "Connection was killed"), replication.Interrupted},
		"deadlock":      {sql(1213, "Deadlock"), replication.Interrupted},
		"duplicate key": {sql(1062, "Duplicate entry"), replication.Broken},
		"duplicate key and primary down": {
			with(func(c *replication.Connection) {
				c.SQLRunning, c.SQLErrno, c.IORunning, c.IOErrno = "No", 1062, "Connecting", 2003
			}), replication.Broken},
		"killed and primary down": {
			with(func(c *replication.Connection) {
				c.SQLRunning, c.SQLErrno, c.IORunning, c.IOErrno = "No", 1927, "Connecting", 2003
			}), replication.Connecting},
	}
	for name, c := range cases {
		v := replication.Diagnose(c.conn)
		if v.Threads != c.want {
			t.Errorf("%s: %d (%s), want %d", name, v.Threads, v, c.want)
		}
		if v.Errno != 0 && !strings.Contains(v.String(), v.Text) {
			t.Errorf("%s: MariaDB's own words are missing: %s", name, v)
		}
	}
}

func TestPointIsExactUnlessTakenWithoutALock(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		point replication.Point
		st    replication.Status
		fails string
	}{
		{"equal", replication.Point{Low: "0-1-100"}, replication.Status{BinlogPos: "0-1-100"}, ""},
		{"both empty", replication.Point{}, replication.Status{}, ""},
		{"one more", replication.Point{Low: "0-1-100"}, replication.Status{BinlogPos: "0-1-101"},
			"0-1-101"},
		{"one less", replication.Point{Low: "0-1-100"}, replication.Status{BinlogPos: "0-1-99"},
			"0-1-100"},
		{"same number of another server", replication.Point{Low: "0-1-100"},
			replication.Status{BinlogPos: "0-2-100"}, "0-2-100"},
		{"domains in another order", replication.Point{Low: "0-1-100,1-1-5"},
			replication.Status{BinlogPos: "1-1-5,0-1-100"}, ""},
		{"a domain more", replication.Point{Low: "0-1-100"},
			replication.Status{BinlogPos: "0-1-100,1-1-5"}, "1-1-5"},
		{"of a replica", replication.Point{Low: "0-1-100", OfReplica: true},
			replication.Status{SlavePos: "0-1-100", BinlogPos: "0-1-7"}, ""},
		{"of a replica, moved", replication.Point{Low: "0-1-100", OfReplica: true},
			replication.Status{SlavePos: "0-1-101"}, "0-1-101"},
		{"within", replication.Point{Low: "0-1-100", High: "0-1-110"},
			replication.Status{BinlogPos: "0-1-105"}, ""},
		{"past", replication.Point{Low: "0-1-100", High: "0-1-110"},
			replication.Status{BinlogPos: "0-1-111"}, "past"},
		{"before", replication.Point{Low: "0-1-100", High: "0-1-110"},
			replication.Status{BinlogPos: "0-1-99"}, "before"},
		{"nonsense", replication.Point{Low: "0-1-100"}, replication.Status{BinlogPos: "x"},
			"malformed"},
	}
	for _, c := range cases {
		err := c.point.Check(c.st)
		if (err == nil) != (c.fails == "") || err != nil &&
			!strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A copy that wrote anything at all is never taken for the snapshot's.
func TestAnyWriteOnTheCopyIsSeen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.SliceOfNDistinct(rapid.Uint32Range(0, 4), 1, 4,
			func(d uint32) uint32 { return d }).Draw(t, "domains")
		var at []gtid.GTID
		for _, domain := range low {
			at = append(at, gtid.GTID{Domain: domain, ServerID: rapid.Uint32Range(1, 5).Draw(t,
				"server"), Sequence: rapid.Uint64Range(1, 1000).Draw(t, "seq")})
		}
		recorded := gtid.Of(at...)
		i := rapid.IntRange(0, len(at)-1).Draw(t, "which")
		at[i].Sequence++
		at[i].ServerID = rapid.Uint32Range(1, 9).Draw(t, "writer")
		point := replication.Point{Low: recorded.String()}
		if err := point.Check(replication.Status{BinlogPos: gtid.Of(at...).String()}); err == nil {
			t.Fatalf("%s was taken for %s", gtid.Of(at...), recorded)
		}
		if err := point.Check(replication.Status{BinlogPos: recorded.String()}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestErrantIsWhatTheReplicaWroteItself(t *testing.T) {
	t.Parallel()
	if got := replication.Errant(replication.Status{ServerID: 2,
		BinlogState: "0-1-100, 0-2-101"}); got != "0-2-101" {
		t.Errorf("%q", got)
	}
	if got := replication.Errant(replication.Status{ServerID: 2,
		BinlogState: "0-1-100,0-22-101,2-1-2"}); got != "" {
		t.Errorf("%q", got)
	}
}

func TestWhatBearsItsServerIDIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ state, since, want string }{
		{"0-1-100,0-22-101", "0-1-90", ""}, {"0-1-100,0-2-95", "0-1-90", "0-2-95"},
		{"0-1-100, 0-2-95", "0-1-95", ""}, {"0-2-95,0-1-100,3-2-7", "0-1-95", "3-2-7"},
		{"0-2-95", "", "0-2-95"}, {"", "0-1-95", ""}, {"0-2-95", "x", ""},
	} {
		if got := replication.LeftOut(2, replication.Status{BinlogState: test.state},
			test.since); got != test.want {
			t.Errorf("of %s, since %s: %q, want %q", test.state, test.since, got, test.want)
		}
	}
	if !replication.Bears("0-1-100,0-2-95", 2) || replication.Bears("0-1-100", 2) {
		t.Error("a binary log that bears it, or one that does not, was taken for the other one")
	}
	found := replication.Skips("db2", "db1", 2, replication.Status{BinlogState: "0-2-95"}, "0-1-9")
	if len(found) != 1 || found[0].Code != replication.ReplicationIDTaken || !found[0].Unproves ||
		!strings.Contains(found[0].Text, "up to 0-2-95") || found[0].Hint.Empty() {
		t.Errorf("found %+v", found)
	}
}

func TestProblemsNamesEachOfThem(t *testing.T) {
	t.Parallel()
	want := replication.Want{ServerID: 2, Account: "us_db2", PrimaryHost: "10.0.0.1",
		PrimaryPort: 3306}
	good := func() replication.Status {
		return replication.Status{Answers: true, ServerID: 2, ReadOnly: true, EventScheduler: "OFF",
			BinlogState: "0-1-9", LogUpdates: true,
			Connections: []replication.Connection{running()}}
	}
	if problems := want.Problems(good()); len(problems) > 0 {
		t.Errorf("a good replica: %v", problems)
	}
	for says, spoil := range map[string]func(s *replication.Status){
		"does not answer": func(s *replication.Status) { s.Answers = false },
		"server_id":       func(s *replication.Status) { s.ServerID = 3 },
		"read-only":       func(s *replication.Status) { s.ReadOnly = false },
		"sync_binlog is 0": func(s *replication.Status) {
			s.Mismatches = []replication.Mismatch{{Name: "sync_binlog", Want: "1", Is: "0"}}
		},
		"event scheduler": func(s *replication.Status) { s.EventScheduler = "ON" },
		"of its own":      func(s *replication.Status) { s.BinlogState = "0-1-9,0-2-10" },
		"not configured":  func(s *replication.Status) { s.Connections = nil },
		"follows": func(
			s *replication.Status) {
			s.Connections[0].PrimaryHost = "10.0.0.9"
		},
		"without GTID":         func(s *replication.Status) { s.Connections[0].UsingGTID = "No" },
		"without verified TLS": func(s *replication.Status) { s.Connections[0].TLSVerify = false },
		"1062": func(s *replication.Status) {
			s.Connections[0].SQLRunning,
				s.Connections[0].SQLErrno = "No", 1062
		},
	} {
		s := good()
		spoil(&s)
		if problems := want.Problems(s); !slices.ContainsFunc(problems,
			func(p string) bool { return strings.Contains(p, says) }) {
			t.Errorf("%s is not among %v", says, problems)
		}
	}
}

func TestFindingsOfAPrimary(t *testing.T) {
	t.Parallel()
	good := replication.Status{Answers: true, ServerID: 1, LogBin: true,
		BinlogFile: "mariadb-bin.000001"}
	if found := replication.PrimaryFindings(good, 1); len(found) > 0 {
		t.Error(found)
	}
	for _, spoil := range []func(s *replication.Status){
		func(s *replication.Status) { s.Answers = false },
		func(s *replication.Status) { s.ServerID = 9 },
		func(s *replication.Status) { s.ReadOnly = true },
		func(s *replication.Status) { s.LogBin = false },
	} {
		s := good
		spoil(&s)
		if found := replication.PrimaryFindings(s, 1); len(found) != 1 || found[0].Text == "" {
			t.Errorf("%+v: %v", s, found)
		}
	}
}

func TestPaceEstimates(t *testing.T) {
	t.Parallel()
	var p replication.Pace
	begin := time.Now()
	p.Observe(begin, 1000)
	if _, known := p.Remaining(begin); known {
		t.Error("an estimate from nothing")
	}
	p.Observe(begin.Add(10*time.Second), 500)
	left, known := p.Remaining(begin.Add(10 * time.Second))
	if done, total := p.Progress(); !known || left != 10*time.Second || done != 500 ||
		total != 1000 {
		t.Errorf("%s %v, %d of %d", left, known, done, total)
	}
	p.Observe(begin.Add(20*time.Second), 5000) // it fell behind: begin again
	if done, total := p.Progress(); done != 0 || total != 5000 {
		t.Errorf("%d of %d", done, total)
	}
}

func TestSeries(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"11.8.6-MariaDB-0+deb13u1": "11.8",
		"10.11.14": "10.11", "12.3": "12.3", "": "", "x.y": "", "11": ""} {
		if got := replication.Series(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if order, ok := replication.CompareSeries("10.11.14", "11.8.6"); !ok || order >= 0 {
		t.Error("10.11 is older than 11.8")
	}
	if _, ok := replication.CompareSeries("", "11.8.6"); ok {
		t.Error("an unknown version was compared")
	}
	for text, want := range map[string]int{"10.4.34": 0, "10.5.9": 1, "10.7.8": 1, "10.8.1": 2,
		"11.8.6": 2, "": -1} {
		if got, ok := replication.LogFormat(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: log format %d, %t", text, got, ok)
		}
	}
}

func TestNamesake(t *testing.T) {
	t.Parallel()
	st := replication.Status{Replicas: []replication.Connected{{ServerID: 7, Host: "db2"},
		{ServerID: 8, Host: "stranger"}, {ServerID: 9}}}
	for id, want := range map[uint32]bool{7: false, 8: true, 9: false, 10: false} {
		if c, found := st.Namesake(id, "db2", "192.0.2.2"); found != want {
			t.Errorf("server_id %d: %v, %t", id, c, found)
		}
	}
}

func TestPartsThatAreNotKnownAreFindings(t *testing.T) {
	t.Parallel()
	for probe, want := range map[string]replication.Code{"facts": replication.FactsOld,
		"unit": replication.UnitUnknown, "call": replication.CallHangs,
		"resume": replication.NotResumed, "certificate": replication.AgentCertificate,
		"mariadb": replication.MariaDBDown, "marks": replication.MarksUnread,
		"replication": replication.ReplicationHangs, "volume": replication.VolumeHangs} {
		o := replication.Observed{Hung: []replication.Hung{{Probe: probe, Reason: "no room"}},
			Status: replication.Status{Answers: true, ServerID: 7, LogBin: true,
				BinlogFile: "mariadb-bin.000001"}}
		found := o.Primary(7, replication.Expected{Server: "db1"})
		if len(found) != 1 || found[0].Code != want || found[0].Hint.Empty() {
			t.Errorf("%s is not known: %+v", probe, found)
		}
		if told := strings.Contains(found[0].Text, "no room"); told != (probe == "facts" ||
			probe == "unit" || probe == "call" || probe == "resume" || probe == "certificate" ||
			probe == "marks") {
			t.Errorf("%s is not known: %s", probe, found[0].Text)
		}
	}
}

// TestAVolumeThatMayStillComeIsNotLost has a host that systemd starts: its datadir is on the root
// filesystem until the volume is there.
func TestAVolumeThatMayStillComeIsNotLost(t *testing.T) {
	t.Parallel()
	want := replication.Expected{Server: "db1", Mount: "/srv/mariadb", FilesystemUUID: "u"}
	for name, c := range map[string]struct {
		starting, gone bool
		lost           bool
	}{
		"it waits":           {true, false, false},
		"its device is gone": {true, true, true},
		"the start is over":  {false, false, true},
	} {
		o := replication.Observed{Starting: c.starting, Unit: replication.Unit{Active: "inactive"},
			Status: replication.Status{FilesystemMount: "/", DownReason: "it does not run"},
			Volume: replication.VolumeState{DeviceGone: c.gone}}
		lost, down := false, ""
		for _, f := range o.Primary(1, want) {
			lost = lost || f.Code == replication.VolumeLost
			if f.Code == replication.MariaDBDown {
				down = f.Text
			}
		}
		if lost != c.lost || strings.HasSuffix(down, "its host is starting") != c.starting ||
			!strings.HasPrefix(down, "mariadb.service is stopped") {
			t.Errorf("%s: lost %t, %q", name, lost, down)
		}
	}
}
