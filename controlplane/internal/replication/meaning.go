package replication

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/consistentpoint"
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
		all = append(all, Unlike{text, OneMeaning(replica, primary, its, primarys)})
	}
	return all
}

// OtherMeaning says in which settings a replica makes something else of a statement than its
// primary did; empty when it does not, or it is not known.
func OtherMeaning(replica, primary Status) string {
	var found []string
	for _, name := range otherSettings(replica, primary) {
		found = append(found, fmt.Sprintf("%s is %s instead of its primary's %s", name,
			cmp.Or(replica.Settings[name], "empty"), cmp.Or(primary.Settings[name], "empty")))
	}
	if len(found) == 0 {
		return ""
	}
	return strings.Join(found, ", ") + ": the same statement makes another table or other rows"
}

// otherSettings are those that statements mean something by, and that the two have in two ways.
func otherSettings(replica, primary Status) []string {
	its, wanted := replica.Settings, primary.Settings
	names := consistentpoint.DefinitionSettings()
	if wanted["binlog_format"] != "ROW" {
		names = append(names, consistentpoint.RowSettings()...)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		told := consistentpoint.ToldWith(name)
		return its[told] == "" || wanted[told] == "" ||
			valueOf(its, name) == valueOf(wanted, name) && !unread(its[name])
	})
}

// unread is true for a value that says nothing of what the file has.
func unread(value string) bool { return strings.HasSuffix(value, consistentpoint.Unread) }

// valueOf is the value of a setting. A version that has no such setting is as one with its default.
func valueOf(settings map[string]string, name string) string {
	switch name {
	case "block_encryption_mode":
		return cmp.Or(settings[name], "aes-128-ecb")
	case "mhnsw_default_distance":
		return cmp.Or(settings[name], "euclidean")
	case "mhnsw_default_m":
		return cmp.Or(settings[name], "6")
	}
	return settings[name]
}

// OneMeaning is the hint for it.
func OneMeaning(replica, primary string, its, primarys Status) errs.Hint {
	found := otherSettings(its, primarys)
	static := slices.DeleteFunc(slices.Clone(found), func(name string) bool {
		return !slices.Contains(consistentpoint.StaticSettings(), name)
	})
	text := "give " + replica + " and " + primary + " the same value"
	if len(static) < len(found) {
		text += ", in the running server (`SET GLOBAL`) and in its option files, then run `STOP " +
			"REPLICA; START REPLICA` on " + replica
	} else {
		text += " in their option files"
	}
	if len(static) > 0 {
		text += "; a running server does not take " + strings.Join(static, ", ") +
			": set that in the option files, and restart mariadb.service"
	}
	if slices.Contains(static, consistentpoint.StopwordFile) {
		text += "; of the file of stop words both hosts need the same content, in the machine " +
			"image too, at a path that the agent can read"
	}
	return errs.Hint{Text: text}
}
