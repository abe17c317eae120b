// Package proof compares every replica with its primary again and again, in small parts and beside
// the load: continuous verification. docs/verification.md has its terms, invariants and costs.
package proof

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// Record is what is known of one replica.
type Record struct {
	// Primary is what it was compared with, History which history the binary log of that had then:
	// proofs against another one do not count.
	Primary string `json:"primary"`
	History string `json:"history,omitempty"`
	// Volume is the replica's data volume: proofs of another one do not count.
	Volume string `json:"volume"`
	// Began and Ended are the times of the latest round; Ended is zero while it goes on.
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended,omitzero"`
	// Table is the last one that this round has ended, Pass how far the next one is.
	Table string `json:"table,omitempty"`
	Pass  Pass   `json:"pass"`
	// Tables are the proofs, by table.
	Tables map[string]Proof `json:"tables"`
	// Objects are the differences of the inventory, ObjectsSeen is when they were found, Remedies
	// are what helps against them: none in a record of an earlier version.
	Objects     []string             `json:"objects,omitempty"`
	ObjectsSeen time.Time            `json:"objects_seen,omitzero"`
	Remedies    []replication.Remedy `json:"remedies,omitempty"`
	// Open is how many objects are locked or change all the time: they were not compared.
	Open int `json:"open,omitempty"`
	// Listed is when the tables of this round were made. Late is true once those that were made or
	// renamed since are part of it.
	Listed map[string]string `json:"listed,omitempty"`
	Late   bool              `json:"late,omitempty"`
	// Paused is why nothing is compared at the moment.
	Paused string `json:"paused,omitempty"`
}

// Pass is one pass over a table, from its first key to its last.
type Pass struct {
	Began time.Time `json:"began,omitzero"`
	// After is the key of the last row that was compared.
	After []string `json:"after,omitempty"`
	// ChunkRows is how many rows a chunk had that took the time that it shall.
	ChunkRows int64 `json:"chunk_rows,omitempty"`
	// Rows and Open are the rows compared, and those that change too fast to be.
	Rows int64  `json:"rows,omitempty"`
	Open int64  `json:"open,omitempty"`
	GTID string `json:"gtid,omitempty"`
	// Different are the chunks that differ.
	Different []Difference `json:"different,omitempty"`
	// Seen is when the last of them was found.
	Seen time.Time `json:"seen,omitzero"`
	Busy int       `json:"-"` // how often in a row nothing was read
}

// Proof is what is known of a table.
type Proof struct {
	// Proved is when the latest pass began that found all chunks equal; zero: none did.
	Proved time.Time `json:"proved,omitzero"`
	GTID   string    `json:"gtid,omitempty"`
	Rows   int64     `json:"rows,omitempty"`
	Open   int64     `json:"open,omitempty"`
	// Unfit is why the table cannot be compared in parts.
	Unfit string `json:"unfit,omitempty"`
	// Skipped is true when that is over perhaps: the latest pass could not read it.
	Skipped bool `json:"skipped,omitempty"`
	// Different are the chunks that the latest pass found to differ, Seen is when.
	Different []Difference `json:"different,omitempty"`
	Seen      time.Time    `json:"seen,omitzero"`
}

// Difference is a chunk that is not the same on both sides.
type Difference struct {
	kit.RowRange
	Primary string `json:"primary"`
	Replica string `json:"replica"`
}

// mostDifferences are kept of one table.
const mostDifferences = 20

// fresh is how old a proof may be that counts for the coverage.
const fresh = 24 * time.Hour

// Coverage is how much of a replica is proved.
type Coverage struct {
	// Share of the rows with a proof of the last 24 hours, 0 to 1.
	Share float64
	// Tables are all, Fresh those with such a proof, Unfit those that cannot have one.
	Tables, Fresh, Unfit int
	// Oldest is the oldest date of a proof; zero when a table that could have one has none.
	Oldest time.Time
	// Different are the tables and objects that differ, in words.
	Different []string
	// RoundBegan and RoundEnded are the times of the latest round.
	RoundBegan, RoundEnded time.Time
	// Paused is why nothing is compared at the moment.
	Paused string
}

// Coverage of the record at a time.
func (r *Record) Coverage(now time.Time) Coverage {
	c := Coverage{RoundBegan: r.Began, RoundEnded: r.Ended, Paused: r.Paused,
		Different: slices.Clone(r.Objects), Tables: len(r.Tables)}
	var all, covered int64
	unproved := false
	for _, name := range slices.Sorted(maps.Keys(r.Tables)) {
		p := r.Tables[name]
		rows := max(p.Rows, 1)
		all += rows
		switch {
		case p.Unfit != "":
			c.Unfit++
		case p.Proved.IsZero():
			unproved = true
		case len(p.Different) > 0: // whatever an earlier pass found
		case now.Sub(p.Proved) < fresh:
			covered += rows - min(p.Open, rows)
			c.Fresh++
		}
		if !p.Proved.IsZero() && (c.Oldest.IsZero() || p.Proved.Before(c.Oldest)) {
			c.Oldest = p.Proved
		}
		if len(p.Different) > 0 {
			c.Different = append(c.Different, describe(name, p.Different))
		}
	}
	if unproved {
		c.Oldest = time.Time{}
	}
	if all > 0 {
		c.Share = float64(covered) / float64(all)
	}
	return c
}

func describe(table string, different []Difference) string {
	first := different[0]
	where := fmt.Sprintf("rows after %s up to %s", keyText(first.After, "the start"),
		keyText(first.Last, "the end"))
	if len(different) > 1 {
		where += fmt.Sprintf(" and %d more chunks", len(different)-1)
	}
	return fmt.Sprintf("table %s (%s: %s on the primary, %s on the replica)", table, where,
		first.Primary, first.Replica)
}

func keyText(key []string, none string) string {
	if len(key) == 0 {
		return none
	}
	return kit.Sprintf("%q", key)
}

// finish ends the pass over a table. What it cannot compare any more differs as it did.
func (r *Record) finish(table string, rows int64, unfit string) {
	p := r.Tables[table]
	p.Unfit, p.Skipped = unfit, false
	if unfit == "" || len(r.Pass.Different) > 0 {
		p.Different, p.Seen = r.Pass.Different, r.Pass.Seen
	}
	if p.Rows = r.Pass.Rows; unfit != "" {
		p.Rows = rows
	}
	if unfit == "" && len(p.Different) == 0 {
		p.Proved, p.GTID, p.Open = r.Pass.Began, cmp.Or(r.Pass.GTID, p.GTID), r.Pass.Open
	}
	r.Tables[table], r.Table, r.Pass = p, table, Pass{}
}

// against is true when the latest round was against the primary as it is.
func (r *Record) against(primary, history string) bool {
	return r.Primary == primary && r.History == history
}

// ofReplica is true when the record is of the data that the replica has, and of what it follows.
func (r *Record) ofReplica(s inventory.Server) bool {
	return r.Volume == s.DataVolume && r.Primary == s.Primary &&
		(s.History == "" || r.History == s.History)
}

// begin starts a round over the tables.
func (r *Record) begin(now time.Time, primary, history string, tables []kit.Table) {
	kept := map[string]Proof{}
	for _, t := range tables {
		kept[t.Name] = Proof{Rows: t.Rows}
		if p, known := r.Tables[t.Name]; known && r.against(primary, history) {
			kept[t.Name] = p
		}
	}
	*r = Record{Primary: primary, History: history, Volume: r.Volume, Began: now, Tables: kept,
		Objects: r.Objects, ObjectsSeen: r.ObjectsSeen, Remedies: r.Remedies,
		Listed: kit.Listed(tables)}
}

// moved are the tables that were made, renamed or made again since they were listed: what was
// proved of their names says nothing of them. They are listed now.
func (r *Record) moved(now []kit.Table) []kit.Table {
	moved := kit.Moved(r.Listed, now)
	for _, t := range moved {
		old := r.Tables[t.Name]
		r.Tables[t.Name] = Proof{Rows: t.Rows, Different: old.Different, Seen: old.Seen}
	}
	r.Listed = kit.Listed(now)
	return moved
}

// clone is a copy that shares no table with the record.
func (r *Record) clone() Record {
	c := *r
	if c.Tables = maps.Clone(r.Tables); c.Tables == nil {
		c.Tables = map[string]Proof{}
	}
	return c
}

// skip ends the pass over a table that could not be read.
func (r *Record) skip(table string, rows int64, why string) {
	r.finish(table, rows, why)
	p := r.Tables[table]
	p.Skipped = true
	r.Tables[table] = p
}

// repaired ends the differences that were found before a comparison of all data began that found
// none. It reports whether there was any.
func (r *Record) repaired(began time.Time) (any bool) {
	if len(r.Objects) > 0 && r.ObjectsSeen.Before(began) {
		r.Objects, r.Remedies, any = nil, nil, true
	}
	if len(r.Pass.Different) > 0 && r.Pass.Seen.Before(began) {
		r.Pass, any = Pass{}, true
	}
	for name, p := range r.Tables {
		if len(p.Different) > 0 && p.Seen.Before(began) {
			p.Different, any = nil, true
			r.Tables[name] = p
		}
	}
	return any
}

// remedies are what helps against all that differs; of rows, a fresh copy.
func (r *Record) remedies() []replication.Remedy {
	all := slices.Clone(r.Remedies)
	for _, p := range r.Tables {
		if len(p.Different) > 0 {
			return append(all, replication.RemedyRebuild)
		}
	}
	return all
}

// provedSince is true when the latest round began after a time, has ended, and found equal all
// objects, and all rows of all tables that have rows of their own.
func (r *Record) provedSince(since time.Time) bool {
	if !r.Began.After(since) || r.Ended.IsZero() || len(r.Objects) > 0 || r.Open > 0 {
		return false
	}
	for _, p := range r.Tables {
		if len(p.Different) > 0 || p.Skipped || p.Unfit == "" &&
			(p.Open > 0 || p.Proved.Before(r.Began)) {
			return false
		}
	}
	return true
}
