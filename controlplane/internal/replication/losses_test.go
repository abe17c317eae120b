package replication_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

func TestSettingsThatLoseChanges(t *testing.T) {
	t.Parallel()
	want := replication.Want{ServerID: 7, PrimaryHost: "10.0.0.1", PrimaryPort: 3306}
	healthy := func() replication.Status {
		return replication.Status{Answers: true, ServerID: 7, ReadOnly: true, LogBin: true,
			LogUpdates: true, BinlogFile: "mariadb-bin.000001",
			Settings: map[string]string{"slave_skip_errors": "OFF", "slave_exec_mode": "STRICT",
				"slave_run_triggers_for_rbr": "NO", "slave_sql_verify_checksum": "ON",
				"replicate_events_marked_for_skip": "REPLICATE", "gtid_ignore_duplicates": "OFF",
				"slave_type_conversions": "ALL_NON_LOSSY", "binlog_format": "MIXED",
				"gtid_slave_pos_engine": "InnoDB", "wsrep_on": "OFF"},
			Connections: []replication.Connection{running()}}
	}
	if why := text(want.Findings(healthy())); why != "" {
		t.Fatal(why)
	}
	for setting, value := range map[string]string{"slave_skip_errors": "1062",
		"slave_exec_mode": "IDEMPOTENT", "slave_run_triggers_for_rbr": "LOGGING",
		"slave_sql_verify_checksum": "OFF", "replicate_events_marked_for_skip": "FILTER_ON_MASTER",
		"gtid_ignore_duplicates": "ON", "slave_type_conversions": "ALL_LOSSY,ALL_NON_LOSSY",
		"init_slave": "SET foreign_key_checks=0", "replicate_do_db": "a",
		"replicate_ignore_table": "a.b", "replicate_wild_ignore_table": "tmp%.%",
		"replicate_rewrite_db": "a->b", "binlog_ignore_db": "a", "secure_timestamp": "YES",
		"gtid_slave_pos_engine": "Aria", "wsrep_on": "ON"} {
		s := healthy()
		s.Settings[setting] = value
		judged(t, s, want, setting)
	}
	for column, value := range map[string]string{"sql_delay": "60", "skip_counter": "1",
		"replicate_ignore_domain_ids": "3", "replicate_do_table": "a.b",
		"replicate_ignore_server_ids": "9"} {
		s := healthy()
		s.Connections[0].Settings = map[string]string{"sql_delay": "0", "skip_counter": "0"}
		if why := text(want.Findings(s)); why != "" {
			t.Errorf("no delay and no skip: %s", why)
		}
		s.Connections[0].Settings[column] = value
		judged(t, s, want, column)
	}
	s := healthy()
	s.LogUpdates = false
	judged(t, s, want, "log_slave_updates")
	s = healthy()
	s.Connections = append(s.Connections, replication.Connection{Name: "feed",
		PrimaryHost: "192.0.2.9", PrimaryPort: 3306})
	judged(t, s, want, `connection "feed" applies the changes of 192.0.2.9:3306 too`)
}

// TestStatementsAreNoRecordOfRows where a primary logs them whatever they do. A replica logs what
// it applies as it came.
func TestStatementsAreNoRecordOfRows(t *testing.T) {
	t.Parallel()
	s := replication.Status{Answers: true, LogBin: true, LogUpdates: true,
		BinlogFile: "mariadb-bin.000001", Settings: map[string]string{"binlog_format": "STATEMENT"}}
	if found := replication.LogLosses(s); len(found) != 1 ||
		!strings.HasPrefix(found[0], "binlog_format=STATEMENT ") {
		t.Errorf("a primary: %q", found)
	}
	for _, format := range []string{"MIXED", "ROW"} {
		s.Settings["binlog_format"] = format
		if found := replication.LogLosses(s); len(found) != 0 {
			t.Errorf("a primary with %s: %q", format, found)
		}
	}
	s.Settings["binlog_format"], s.Connections = "STATEMENT", []replication.Connection{running()}
	if found := replication.PrimaryFindings(s, 0); len(found) != 1 ||
		!strings.HasPrefix(found[0].Text, "binlog_format=STATEMENT ") {
		t.Errorf("a primary that follows another server beside: %+v", found)
	}
	s.ReadOnly = true
	if found := replication.LogLosses(s); len(found) != 0 {
		t.Errorf("a replica: %q", found)
	}
}

// TestWhatUnprovesData are the findings after which a replica may lack changes, also once they are
// over.
func TestWhatUnprovesData(t *testing.T) {
	t.Parallel()
	want := replication.Want{ServerID: 7, PrimaryHost: "10.0.0.1", PrimaryPort: 3306}
	for name, test := range map[string]struct {
		spoil    func(*replication.Status)
		unproves bool
	}{
		"a filter": {func(s *replication.Status) {
			s.Settings = map[string]string{"replicate_do_db": "a"}
		}, true},
		"a delay": {func(s *replication.Status) {
			s.Connections[0].Settings = map[string]string{"sql_delay": "60"}
		}, false},
		"another connection": {func(s *replication.Status) {
			s.Connections = append(s.Connections, replication.Connection{Name: "feed"})
		}, true},
		"a lock wait that the SQL thread gave up on": {func(s *replication.Status) {
			s.Connections[0].SQLRunning, s.Connections[0].SQLErrno = "No", 1205
		}, false},
		"an error that it retries": {func(s *replication.Status) {
			s.Connections[0].SQLErrno = 1213
		}, false},
		"transactions of its own": {func(s *replication.Status) { s.BinlogState = "0-7-3" }, true},
		"an error of the SQL thread": {func(s *replication.Status) {
			s.Connections[0].SQLRunning, s.Connections[0].SQLErrno = "No", 1032
		}, true},
		"an error of the IO thread": {func(s *replication.Status) {
			s.Connections[0].IORunning, s.Connections[0].IOErrno = "No", 1595
		}, false},
		"a thread that was stopped": {func(s *replication.Status) {
			s.Connections[0].SQLRunning = "No"
		}, false},
		"its own binary log": {func(s *replication.Status) { s.LogUpdates = false }, false},
	} {
		s := replication.Status{Answers: true, ServerID: 7, ReadOnly: true, LogBin: true,
			LogUpdates: true, BinlogFile: "b.000001",
			Connections: []replication.Connection{running()}}
		test.spoil(&s)
		found := want.Findings(s)
		if len(found) > 1 || test.unproves != slices.ContainsFunc(found,
			func(f replication.Finding) bool { return f.Unproves }) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func judged(t *testing.T, s replication.Status, want replication.Want, cause string) {
	t.Helper()
	if why := text(want.Findings(s)); !strings.Contains(why, cause) {
		t.Errorf("%s: %q", cause, why)
	}
}

// text is that of the first finding.
func text(found []replication.Finding) string {
	if len(found) == 0 {
		return ""
	}
	return found[0].Text
}

func TestACurrentBinaryLogWhoseFileIsGone(t *testing.T) {
	t.Parallel()
	s := replication.Status{Answers: true, LogBin: true, BinlogFile: "b.000001",
		HistoryReason: "the current binary log, b.000001, is not there any more"}
	if found := replication.LogLosses(s); len(found) != 1 ||
		!strings.Contains(found[0], "b.000001") {
		t.Errorf("found %q", found)
	}
	hint := func() string {
		found := replication.Observed{Status: s}.Primary(0, replication.Expected{Server: "db1"})
		at := slices.IndexFunc(found, func(f replication.Finding) bool {
			return f.Code == replication.LossySettings
		})
		if at < 0 {
			t.Fatalf("found %+v", found)
		}
		return found[at].Hint.Text
	}
	if text := hint(); !strings.Contains(text, "`FLUSH BINARY LOGS` in MariaDB on db1") {
		t.Errorf("its hint is %q", text)
	}
	s.Settings = map[string]string{"binlog_do_db": "app"} // which is found first
	if text := hint(); strings.Contains(text, "FLUSH") {
		t.Errorf("the hint for a setting is %q", text)
	}
	s.Settings = nil
	s.BinlogHistory = "one" // which began another time, for that reason
	if found := replication.LogLosses(s); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

func TestBinaryLogThatLeavesChangesOut(t *testing.T) {
	t.Parallel()
	for cause, spoil := range map[string]func(s *replication.Status){
		"binlog_do_db": func(s *replication.Status) {
			s.Settings = map[string]string{"binlog_do_db": "app"}
		},
		"log_slave_updates": func(s *replication.Status) {
			s.Connections, s.LogUpdates = []replication.Connection{running()}, false
		},
		"stopped logging": func(s *replication.Status) { s.BinlogFile = "" },
	} {
		s := replication.Status{Answers: true, ServerID: 1, LogBin: true, LogUpdates: true,
			BinlogFile: "mariadb-bin.000001"}
		if why := text(replication.PrimaryFindings(s, 1)); why != "" {
			t.Error(why)
		}
		spoil(&s)
		if why := text(replication.PrimaryFindings(s, 1)); !strings.Contains(why, cause) {
			t.Errorf("%s: %q", cause, why)
		}
	}
}
