package replication_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/consistentpoint"
)

func TestAStatementMeansTheSameOnBothSides(t *testing.T) {
	t.Parallel()
	with := func(changes map[string]string) replication.Status {
		s := replication.Status{Answers: true, Settings: map[string]string{
			"binlog_format": "MIXED", "default_storage_engine": "InnoDB",
			"group_concat_max_len": "1048576", "max_recursive_iterations": "1000",
			"ft_query_expansion_limit": "20", "sysdate_is_now": "OFF"}}
		maps.Copy(s.Settings, changes)
		return s
	}
	for name, test := range map[string]struct{ primary, replica, says string }{
		"default_storage_engine":   {"MyISAM", "InnoDB", "InnoDB instead of its primary's MyISAM"},
		"enforce_storage_engine":   {"InnoDB", "", "empty instead of its primary's InnoDB"},
		"group_concat_max_len":     {"1024", "1048576", "1048576 instead of its primary's 1024"},
		"max_recursive_iterations": {"5", "1000", "1000 instead of its primary's 5"},
		"default_regex_flags":      {"DOTALL", "", "empty instead of its primary's DOTALL"},
		"innodb_ft_min_token_size": {"1", "3", "3 instead of its primary's 1"},
		"old_passwords":            {"ON", "OFF", "OFF instead of its primary's ON"},
		"block_encryption_mode": {"aes-256-cbc", "aes-128-ecb", "aes-128-ecb instead of its " +
			"primary's aes-256-cbc"},
		"mhnsw_default_m":          {"9", "6", "6 instead of its primary's 9"},
		"ft_boolean_syntax":        {"a", "b", "b instead of its primary's a"},
		"ft_query_expansion_limit": {"1", "3", "3 instead of its primary's 1"},
		"ft_stopword_file": {"(built-in)", "file 1a", "file 1a instead of its primary's " +
			"(built-in)"},
		"innodb_ft_server_stopword_table": {"a/b", "", "empty instead of its primary's a/b"},
		"innodb_ft_user_stopword_table":   {"a/b", "", "empty instead of its primary's a/b"},
		"sysdate_is_now":                  {"ON", "OFF", "OFF instead of its primary's ON"},
		"ignore_db_dirs":                  {"app", "", "empty instead of its primary's app"},
	} {
		found := replication.FromPrimary("db2", "db1", with(map[string]string{name: test.replica}),
			with(map[string]string{name: test.primary}))
		if len(found) != 1 || found[0].Code != replication.LossySettings || !found[0].Unproves ||
			!strings.Contains(found[0].Text, name+" is "+test.says) {
			t.Errorf("%s: %+v", name, found)
		}
	}
	for name, restart := range map[string]bool{"ft_min_word_len": true,
		"innodb_ft_max_token_size": true, "group_concat_max_len": false, "ft_stopword_file": true,
		"sysdate_is_now": true,
		"ignore_db_dirs": true, "ft_query_expansion_limit": true, "ft_boolean_syntax": false,
		"innodb_ft_server_stopword_table": false} {
		found := replication.Unlikes("db2", "db1", with(map[string]string{name: "7"}), with(nil))
		if len(found) != 1 || strings.Contains(found[0].Hint.Text, "not take "+name) != restart ||
			strings.Contains(found[0].Hint.Text, "SET GLOBAL") == restart {
			t.Errorf("%s: %+v", name, found)
		}
	}
	unread := with(map[string]string{"ft_stopword_file": "file /a" + consistentpoint.Unread})
	if why := replication.OtherMeaning(unread, unread); !strings.Contains(why, "ft_stopword_file") {
		t.Errorf("nobody could read what the files have, and they count as equal: %q", why)
	}
	with118 := with(map[string]string{"block_encryption_mode": "aes-128-ecb",
		"mhnsw_default_distance": "euclidean", "mhnsw_default_m": "6"})
	if why := replication.OtherMeaning(with118, with(nil)); why != "" {
		t.Errorf("10.11 has no such settings, and %s", why)
	}
	earlier := with(map[string]string{"ft_query_expansion_limit": "", "ignore_db_dirs": ""})
	primary := with(map[string]string{"ignore_db_dirs": "app", "group_concat_max_len": "7"})
	if why := replication.OtherMeaning(earlier, primary); strings.Contains(why, "ignore_db_dirs") ||
		!strings.Contains(why, "group_concat_max_len") {
		t.Errorf("an agent that does not tell all: %s", why)
	}
	rows := with(map[string]string{"binlog_format": "ROW", "group_concat_max_len": "1024"})
	if why := replication.OtherMeaning(with(nil), rows); why != "" {
		t.Errorf("rows are logged as rows, and %s", why)
	}
	rows.Settings["default_storage_engine"] = "Aria"
	if why := replication.OtherMeaning(with(nil), rows); why == "" {
		t.Error("a definition is a statement in every format")
	}
	for _, silent := range []replication.Status{{}, {Answers: true}} {
		if why := replication.OtherMeaning(silent, with(nil)) +
			replication.OtherMeaning(with(nil), silent); why != "" {
			t.Errorf("it is not known, and %s", why)
		}
	}
}
