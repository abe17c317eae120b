package mariadb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-db/understudy/agent/internal/untrusted"
	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// lossVariables are global variables by which a server leaves changes out, changes them, or goes on
// behind an error. The running server has them whatever set them: an option file, the command line,
// a statement.
func lossVariables() []string {
	return append(compared(), "replicate_do_db", "replicate_ignore_db", "replicate_do_table",
		"replicate_ignore_table", "replicate_wild_do_table", "replicate_wild_ignore_table",
		"replicate_rewrite_db", "replicate_events_marked_for_skip", "slave_skip_errors",
		"slave_exec_mode", "slave_type_conversions", "slave_run_triggers_for_rbr", "init_slave",
		"slave_sql_verify_checksum", "gtid_ignore_duplicates", "secure_timestamp",
		"binlog_format", "system_time_zone", "time_zone", "wsrep_on")
}

// lossColumns are the columns of SHOW ALL SLAVES STATUS that do so for one connection.
func lossColumns() []string {
	return []string{"replicate_do_db", "replicate_ignore_db", "replicate_do_table",
		"replicate_ignore_table", "replicate_wild_do_table", "replicate_wild_ignore_table",
		"replicate_rewrite_db", "replicate_ignore_server_ids", "replicate_do_domain_ids",
		"replicate_ignore_domain_ids", "skip_counter", "sql_delay"}
}

// longestSetting is what is told of a value: a filter may name thousands of tables.
const longestSetting = 200

// settingsOf are values by name, empty ones left out.
func settingsOf(r row, names []string) map[string]string {
	found := map[string]string{}
	for _, name := range names {
		if value := strings.TrimSpace(r[name]); value != "" {
			found[name] = strings.ToValidUTF8(value[:min(len(value), longestSetting)], "")
		}
	}
	return found
}

// mostStopwords bounds a file of stop words.
const mostStopwords = 1 << 20

// comparable tells of settings what two servers share or do not: for the name of the file of stop
// words what it has, which MariaDB has read at its start, and the directories that hide schemas.
func (l *Live) comparable(datadir string) {
	if dirs, told := l.Settings[ignoredDirs]; told {
		l.Settings[ignoredDirs] = hiding(dirs)
	}
	path := l.Settings[consistentpoint.StopwordFile]
	if path == "" || path == "(built-in)" {
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(datadir, path)
	}
	said := "file " + path + consistentpoint.Unread
	if content, err := untrusted.ReadFile(path, mostStopwords); err == nil {
		sum := sha256.Sum256(content)
		said = "file with SHA-256 " + hex.EncodeToString(sum[:8])
	}
	l.Settings[consistentpoint.StopwordFile] = said
}

// repaired are the settings of a connection that ConfigureReplica takes back.
func (r Replication) repaired() []string {
	var wrong []string
	for _, name := range []string{"sql_delay", "replicate_do_domain_ids",
		"replicate_ignore_domain_ids", "replicate_ignore_server_ids"} {
		if value := r.Settings[name]; value != "" && value != "0" {
			wrong = append(wrong, name+" taken back from "+strconv.Quote(value))
		}
	}
	return wrong
}

// lossless are options by which our option file beats what an image or an operator wrote elsewhere.
// The lists of filters cannot be taken back by an option.
func lossless() []Option {
	return []Option{set("slave_exec_mode", "STRICT"), set("slave_skip_errors", "OFF"),
		set("slave_run_triggers_for_rbr", "NO"), set("slave_type_conversions", ""),
		set("replicate_events_marked_for_skip", "REPLICATE"), set("init_slave", ""),
		flag("slave_sql_verify_checksum", true), flag("gtid_ignore_duplicates", false)}
}

// binlogFilters adds the filters of the binary log, which 10.11 shows in one statement alone.
func (l *Live) binlogFilters(at row) {
	maps.Copy(l.Settings, settingsOf(at, []string{"binlog_do_db", "binlog_ignore_db"}))
}

// readPositionEngine adds the engine of the table that keeps the position of a replica. MariaDB may
// have one of them for each engine.
func (l *Live) readPositionEngine(ctx context.Context, q querier) error {
	const name = "gtid_slave_pos_engine"
	all, err := query(ctx, q, "SELECT engine AS "+name+" FROM information_schema.tables "+
		"WHERE table_schema = 'mysql' AND table_name LIKE 'gtid_slave_pos%'")
	for _, r := range all {
		if r[name] == "InnoDB" || l.Settings[name] == "" {
			maps.Copy(l.Settings, settingsOf(r, []string{name}))
		}
	}
	return err
}

// harmless are the values of settings with which a replica leaves nothing out and changes nothing;
// filters are harmless when they are empty.
func harmless() map[string]string {
	all := map[string]string{"skip_counter": "0", "secure_timestamp": "NO",
		"gtid_slave_pos_engine": "InnoDB", "slave_sql_verify_checksum": "ON",
		"gtid_ignore_duplicates": "OFF", "slave_exec_mode": "STRICT", "slave_skip_errors": "OFF",
		"slave_run_triggers_for_rbr": "NO", "replicate_events_marked_for_skip": "REPLICATE",
		"init_slave": ""}
	for _, name := range append(lossVariables(), lossColumns()...) {
		if _, known := all[name]; !known && strings.HasPrefix(name, "replicate_") {
			all[name] = ""
		}
	}
	return all
}

// LossError is the kind of an error of the SQL thread.
const LossError = "error"

// Losses are why this server may leave out changes of its primary at this moment, by kind; none
// when it follows nobody. The kinds do not change from one look to the next.
func (l Live) Losses() map[string]string {
	found := map[string]string{}
	for _, r := range l.Replication {
		if r.Connection != "" {
			continue // it is lossy that there is one, and told as long as there is
		}
		for name, value := range harmless() {
			for _, settings := range []map[string]string{l.Settings, r.Settings} {
				if is, set := settings[name]; set && is != value {
					found[name] = name + " was " + is
				}
			}
		}
		if kinds := l.Settings["slave_type_conversions"]; strings.Contains(kinds, "ALL_LOSSY") {
			found["slave_type_conversions"] = "slave_type_conversions was " + kinds
		}
		if r.SQLRunning == "No" && r.SQLErrno != 0 && !passing(r.SQLErrno) {
			found[LossError] = fmt.Sprintf("its SQL thread had error %d: %s", r.SQLErrno,
				r.SQLError)
		}
	}
	return found
}

// passing is an error after which the SQL thread may simply be started again, or does so itself.
func passing(errno int) bool {
	return slices.Contains([]int{1053, 1158, 1159, 1160, 1161, 1205, 1213, 1317, 1429, 1594, 1927,
		2013, 12701}, errno)
}

// Passes is true for the number of such an error.
func Passes(errno string) bool {
	n, err := strconv.Atoi(errno)
	return err == nil && passing(n)
}
