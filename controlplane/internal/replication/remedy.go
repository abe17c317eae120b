package replication

import (
	"slices"
	"strings"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Remedy is what ends a difference between a replica and its primary.
type Remedy string

// The remedies, in the order in which they are taken.
const (
	RemedyZones      Remedy = "time_zones"    // the time zones are loaded again
	RemedyRemote     Remedy = "remote_tables" // tables of other servers go
	RemedyCollations Remedy = "collations"    // the host gets the collations of its primary's
	RemedyRebuild    Remedy = "rebuild"       // a fresh copy
)

// Differences are what differs of a replica, in words, and what helps against it.
type Differences struct {
	Found    []string
	Remedies []Remedy
}

// Helps is the hint against differences of a replica: of several kinds, all that helps. again is
// asked for where no fresh copy is needed.
func Helps(replica, primary string, remedies []Remedy, again errs.Action) errs.Hint {
	texts := map[Remedy]string{
		RemedyZones: "load the time zones again on " + primary + " (`mariadb-tzinfo-to-sql " +
			"/usr/share/zoneinfo | mariadb mysql`), then restart MariaDB on both hosts",
		RemedyRemote: "drop the tables of other servers on " + primary + ", or make them again " +
			"there with an engine of its own",
		RemedyCollations: "give " + replica + ", and its machine image, the collations of " +
			primary + " (Index.xml and its files in character_sets_dir)",
		RemedyRebuild: "rebuild the replica from a fresh copy",
	}
	// Indexes that another collation has sorted stay so. What is not known is rebuilt.
	rebuild := len(remedies) == 0 || slices.Contains(remedies, RemedyRebuild) ||
		slices.Contains(remedies, RemedyCollations)
	hint := errs.Hint{Actions: []errs.Action{again}}
	if rebuild {
		hint.Actions = []errs.Action{errs.Call("RebuildReplica", "name", "servers/"+replica)}
	}
	var parts []string
	for _, r := range []Remedy{RemedyZones, RemedyRemote, RemedyCollations, RemedyRebuild} {
		if slices.Contains(remedies, r) || r == RemedyRebuild && rebuild {
			parts = append(parts, texts[r])
		}
	}
	hint.Text = strings.Join(parts, "; then ")
	if !rebuild {
		hint.Text += "; then verify it again"
	}
	return hint
}
