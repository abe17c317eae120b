package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Report has the figures of a demo, in the form that --report writes.
type Report struct {
	Primary struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		GTID    string `json:"gtid"`
	} `json:"primary"`
	Snapshot struct {
		Mode               string  `json:"mode"`
		GTID               string  `json:"gtid"`
		WriteBlockMS       float64 `json:"write_block_ms"`
		MaxCommitLatencyMS float64 `json:"max_commit_latency_ms"`
	} `json:"snapshot"`
	Replica struct {
		Name           string       `json:"name"`
		Version        string       `json:"version"`
		GTID           string       `json:"gtid"`
		State          string       `json:"state"`
		MariaDBDStarts int          `json:"mariadbd_starts"`
		Steps          []ReportStep `json:"steps"`
		TotalMS        int64        `json:"total_ms"`
	} `json:"replica"`
	Verify struct {
		Level      string   `json:"level"`
		Tables     int      `json:"tables"`
		Mismatches []string `json:"mismatches"`
	} `json:"verify"`
	Load struct {
		Transactions int64 `json:"transactions"`
		Errors       int64 `json:"errors"`
	} `json:"load"`
}

// ReportStep is one step of the replica's job.
type ReportStep struct {
	Name       string `json:"name"`
	State      string `json:"state"`
	Attempts   int32  `json:"attempts"`
	DurationMS int64  `json:"duration_ms"`
}

// Write writes the report to a file.
func (r *Report) Write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// Print prints the figures as text.
func (r *Report) Print(w io.Writer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-28s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("primary", "%s, MariaDB %s, at GTID %s", r.Primary.Name, r.Primary.Version, r.Primary.GTID)
	row("snapshot", "%s, at GTID %s", r.Snapshot.Mode, r.Snapshot.GTID)
	row("writes blocked for", "%.0f ms", r.Snapshot.WriteBlockMS)
	row("longest commit meanwhile", "%.0f ms", r.Snapshot.MaxCommitLatencyMS)
	row("replica", "%s, MariaDB %s, %s, at GTID %s", r.Replica.Name, r.Replica.Version,
		r.Replica.State, r.Replica.GTID)
	row("replica's job", "%d steps in %.1f s", len(r.Replica.Steps),
		float64(r.Replica.TotalMS)/1000)
	row("starts of MariaDB on it", "%d", r.Replica.MariaDBDStarts)
	row("verified", "%s; then compared by hand: %d tables, %d mismatches", r.Verify.Level,
		r.Verify.Tables, len(r.Verify.Mismatches))
	row("load", "%d transactions, %d errors", r.Load.Transactions, r.Load.Errors)
}

// quiesceLimitMS is the longest that the primary's host holds writes back, by default. Less is a
// matter of how busy the box is.
const quiesceLimitMS = 10_000

// Broken lists what is not as promised.
func (r *Report) Broken() []string {
	var broken []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	check(r.Replica.State == "READY", "the replica is %s, not READY", r.Replica.State)
	check(r.Replica.MariaDBDStarts == 1, "MariaDB was started %d times on the replica, not once",
		r.Replica.MariaDBDStarts)
	check(r.Replica.GTID == r.Primary.GTID, "the replica is at %s, the primary at %s",
		r.Replica.GTID, r.Primary.GTID)
	check(r.Snapshot.WriteBlockMS <= quiesceLimitMS, "writes were blocked for %.0f ms",
		r.Snapshot.WriteBlockMS)
	check(r.Verify.Tables > 0, "no table was compared")
	check(len(r.Verify.Mismatches) == 0, "tables differ: %v", r.Verify.Mismatches)
	check(r.Load.Transactions > 0, "the load did nothing")
	check(r.Load.Errors == 0, "the load had %d errors", r.Load.Errors)
	return broken
}
