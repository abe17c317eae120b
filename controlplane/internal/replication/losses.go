package replication

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// loss is a setting by which replication loses changes in silence, and what it does.
type loss struct{ harmless, does string }

// logLosses are settings of a server that others follow.
func logLosses() map[string]loss {
	return map[string]loss{
		"binlog_do_db":     {"", "keeps changes out of the binary log"},
		"binlog_ignore_db": {"", "keeps changes out of the binary log"},
		"wsrep_on": {"OFF", "makes it a node of a Galera cluster, which gets changes of other " +
			"nodes that its binary log lacks: by a state transfer, and all of them with " +
			"log_slave_updates=OFF"},
	}
}

// applyLosses are settings of a server that applies changes, and of its connections.
func applyLosses() map[string]loss {
	all := map[string]loss{
		"replicate_events_marked_for_skip": {"REPLICATE", "lets events be left out"},
		"slave_skip_errors":                {"OFF", "goes on behind errors"},
		"slave_exec_mode":                  {"STRICT", "goes on where rows do not fit"},
		"slave_run_triggers_for_rbr":       {"NO", "changes more than the events say"},
		"init_slave":                       {"", "runs statements in the SQL thread"},
		"slave_sql_verify_checksum":        {"ON", "applies events that are damaged"},
		"gtid_ignore_duplicates":           {"OFF", "leaves out transactions by their number"},
		"secure_timestamp":                 {"NO", "applies statements by its own clock"},
		"skip_counter":                     {"0", "leaves the next events out"},
		"sql_delay":                        {"0", "keeps the replica behind"},
		"replicate_ignore_server_ids":      {"", "leaves out the changes of a server"},
		"replicate_rewrite_db":             {"", "applies changes to another schema"},
		"gtid_slave_pos_engine": {"InnoDB", "keeps its position apart from its transactions, so " +
			"that a crash applies some twice or leaves some out: run `STOP REPLICA; SET " +
			"sql_log_bin=0; ALTER TABLE mysql.gtid_slave_pos ENGINE=InnoDB; START REPLICA` there"},
	}
	for _, name := range []string{"do_db", "ignore_db", "do_table", "ignore_table", "wild_do_table",
		"wild_ignore_table", "do_domain_ids", "ignore_domain_ids"} {
		all["replicate_"+name] = loss{"", "leaves changes out"}
	}
	return all
}

// LogLosses are the reasons why what changes on a server does not all reach those that follow it;
// none when it does.
func LogLosses(s Status) []string {
	found := losses(s.Settings, logLosses())
	if s.Answers && len(s.Connections) > 0 && !s.LogUpdates {
		found = append(found,
			"log_slave_updates=OFF keeps what it replicates out of the binary log")
	}
	// What a replica applies it logs as it came; a server that takes writes logs its own too.
	if s.Settings["binlog_format"] == "STATEMENT" && (!s.ReadOnly || len(s.Connections) == 0) {
		found = append(found, "binlog_format=STATEMENT logs what a replica makes other rows of, "+
			"as with UUID(), SYSDATE() or LIMIT (MariaDB's warning 1592): MIXED and ROW do not")
	}
	if s.Answers && s.LogBin && s.BinlogFile == "" && !s.Held {
		found = append(found, "it has no current binary log: MariaDB stopped logging")
	}
	if removed := RemovedLog(s); removed != "" {
		found = append(found, removed)
	}
	return found
}

// RemovedLog is the one of LogLosses that no setting is to blame for: somebody deleted the file of
// the current binary log. Empty when nobody did.
func RemovedLog(s Status) string {
	if !s.Answers || !s.LogBin || s.BinlogHistory != "" || s.HistoryReason == "" {
		return ""
	}
	return s.HistoryReason + ": no replica reads it any more once it connects again"
}

// NextLog is the hint for it.
func NextLog(server string) errs.Hint {
	return errs.Hint{Text: "begin the next binary log with `FLUSH BINARY LOGS` in MariaDB on " +
		server + ", and rebuild each replica that is BINLOGS_PURGED then"}
}

// OtherZone says that the hosts of a replica and its primary have different time zones; empty when
// they have one, it is not known, or neither side's sessions begin with time_zone=SYSTEM.
func OtherZone(replica, primary Status) string {
	const name, offsets = "system_time_zone", "system_time_zone_offsets"
	its, wanted := replica.Settings[offsets], primary.Settings[offsets]
	if its == "" || wanted == "" || its == wanted || !usesSystem(replica) && !usesSystem(primary) {
		return ""
	}
	return fmt.Sprintf("its host's time zone (%s) is not its primary's (%s): with time_zone="+
		"SYSTEM the same statement stores another time", replica.Settings[name],
		primary.Settings[name])
}

// usesSystem is true too where the agent does not tell.
func usesSystem(s Status) bool {
	return cmp.Or(s.Settings["time_zone"], "SYSTEM") == "SYSTEM"
}

// OneZone is the hint for it.
func OneZone(replica, primary string, its, primarys Status) errs.Hint {
	const name = "system_time_zone"
	if its.Settings[name] == primarys.Settings[name] {
		return errs.Hint{Text: "their zones have one name and other rules: upgrade tzdata on the " +
			"hosts of " + replica + " and " + primary + ", and restart " + unit + " on both"}
	}
	return errs.Hint{Text: "give the host of " + replica + " the time zone of the host of " +
		primary + " (`timedatectl` shows it, `timedatectl set-timezone ZONE` sets it), and " +
		"restart " + unit + " on " + replica}
}

// ApplyLosses are the reasons why a server may not apply all that its primary logged, or not as it
// was logged; none when it does.
func ApplyLosses(s Status) []string {
	found := losses(s.Settings, applyLosses())
	if kinds := s.Settings["slave_type_conversions"]; strings.Contains(kinds, "ALL_LOSSY") {
		found = append(found, "slave_type_conversions="+kinds+" cuts values to fit")
	}
	for _, c := range s.Connections {
		found = append(found, losses(c.Settings, applyLosses())...)
	}
	slices.Sort(found) // the filters of the connection without a name are global variables too
	return slices.Compact(found)
}

// delays reports whether one of ApplyLosses only delays changes, so that none is missing later.
func delays(lossy string) bool { return strings.HasPrefix(lossy, "sql_delay=") }

func losses(settings map[string]string, known map[string]loss) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if l, lossy := known[name]; lossy && settings[name] != l.harmless {
			found = append(found, fmt.Sprintf("%s=%s %s", name, settings[name], l.does))
		}
	}
	return found
}
