package replication

import (
	"fmt"
	"strings"
)

// Binlog is one binary log of a server.
type Binlog struct {
	File     string
	Bytes    int64
	Start    string   // position at its begin; empty before the first transaction
	Reserved []string // reservations that keep it
}

// Reader is a replica of the server, and what it has applied.
type Reader struct {
	Name    string
	Applied string
}

// Purge is what can be deleted of a server's binary logs.
type Purge struct {
	To    string // first file that stays
	Start string // position that the files which stay begin at
	Files int    // that go
	Bytes int64  // that go
	Kept  string // what keeps the others
}

// PlanPurge finds what no reader and no reservation needs. The newest file always stays.
func PlanPurge(logs []Binlog, readers []Reader) (Purge, error) {
	if len(logs) == 0 {
		return Purge{Kept: "there is no binary log"}, nil
	}
	first, kept := len(logs)-1, "it is the newest"
	for i, b := range logs[:first] {
		if len(b.Reserved) > 0 {
			first, kept = i, strings.Join(b.Reserved, ", ")+" keeps it"
			break
		}
	}
	for _, r := range readers {
		at, err := firstNeeded(logs, r.Applied)
		if err != nil {
			return Purge{}, fmt.Errorf("cannot tell what %s has applied: %w", r.Name, err)
		}
		if at < first {
			first, kept = at, fmt.Sprintf("%s has applied no more than %s", r.Name, r.Applied)
		}
	}
	plan := Purge{To: logs[first].File, Start: logs[first].Start, Files: first, Kept: kept}
	for _, b := range logs[:first] {
		plan.Bytes += b.Bytes
	}
	return plan, nil
}

// firstNeeded is the newest log whose begin was applied: what comes before it was applied too. A
// log that is not the oldest and has no position at its begin proves nothing.
func firstNeeded(logs []Binlog, applied string) (int, error) {
	needed := 0
	for i := 1; i < len(logs); i++ {
		covers, err := Covers(applied, logs[i].Start)
		if err != nil {
			return 0, err
		}
		if covers && logs[i].Start != "" {
			needed = i
		}
	}
	return needed, nil
}
