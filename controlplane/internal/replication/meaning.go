package replication

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Unlike is why a replica makes something else of a statement than its primary did, and what helps.
type Unlike struct {
	Text string
	Hint errs.Hint
}

// Unlikes are the reasons that the hosts and the settings of both are; none where they are alike.
func Unlikes(replica, primary string, its, primarys Status) (all []Unlike) {
	if text := OtherZone(its, primarys); text != "" {
		all = append(all, Unlike{text, OneZone(replica, primary, its, primarys)})
	}
	if text := OtherMeaning(its, primarys); text != "" {
		all = append(all, Unlike{text, OneMeaning(replica, primary)})
	}
	return all
}

// definitionSettings are settings that definitions of tables depend on, and no event carries.
func definitionSettings() []string {
	return []string{"default_storage_engine", "enforce_storage_engine",
		"innodb_compression_default", "innodb_default_row_format", "old_mode"}
}

// rowSettings are those that rows depend on, when their change is logged as a statement.
func rowSettings() []string {
	return []string{"default_regex_flags", "default_week_format", "div_precision_increment",
		"ft_max_word_len", "ft_min_word_len", "group_concat_max_len", "innodb_ft_enable_stopword",
		"innodb_ft_max_token_size", "innodb_ft_min_token_size", "max_recursive_iterations"}
}

// OtherMeaning says in which settings a replica makes something else of a statement than its
// primary did; empty when it does not, or it is not known.
func OtherMeaning(replica, primary Status) string {
	const told = "group_concat_max_len" // by every agent that tells these, and never empty
	its, wanted := replica.Settings, primary.Settings
	if its[told] == "" || wanted[told] == "" {
		return ""
	}
	names := definitionSettings()
	if wanted["binlog_format"] != "ROW" {
		names = append(names, rowSettings()...)
	}
	var found []string
	for _, name := range names {
		if its[name] != wanted[name] {
			found = append(found, fmt.Sprintf("%s is %s instead of its primary's %s", name,
				cmp.Or(its[name], "empty"), cmp.Or(wanted[name], "empty")))
		}
	}
	if len(found) == 0 {
		return ""
	}
	return strings.Join(found, ", ") + ": the same statement makes another table or other rows"
}

// OneMeaning is the hint for it.
func OneMeaning(replica, primary string) errs.Hint {
	return errs.Hint{Text: "give " + replica + " and " + primary + " the same value, in the " +
		"running server (`SET GLOBAL`) and in its option files, then run `STOP REPLICA; START " +
		"REPLICA` on " + replica}
}
