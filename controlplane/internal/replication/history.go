package replication

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/understudy-db/understudy/proto/gtid"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Lineage is what a copy relies on of its primary's binary log.
type Lineage struct {
	History  string // id of the history that it was made from, or follows; empty when not known
	State    string // gtid_binlog_state that the primary had
	Position string // that replication goes on from
}

// Broken is why the binary log of the primary is not the one that a copy was made from; empty when
// nothing speaks against it. What was purged meanwhile does not: a position alone does not tell one
// history from another, because the numbers come again.
func (l Lineage) Broken(primary Status) string {
	if l.History != "" && primary.BinlogHistory != "" && l.History != primary.BinlogHistory {
		return "its binary log has another history since (" + cmp.Or(primary.HistoryReason,
			"RESET MASTER, an older datadir, or a tail that a crash took") + ")"
	}
	has := lastOf(primary.BinlogState)
	for _, list := range []string{l.State, l.Position} {
		for source, last := range lastOf(list) {
			if has[source] < last {
				return fmt.Sprintf("its binary log lacks %d-%d-%d, which the copy relies on",
					source.domain, source.server, last)
			}
		}
	}
	return ""
}

// AcceptWhy stands in a hint for the reason that an operator has to give.
const AcceptWhy = "WHY"

// OtherHistory is the hint for a replica whose primary's binary log has another history.
func OtherHistory(server string) errs.Hint {
	name := "servers/" + server
	return errs.Hint{Text: "rebuild the replica from a fresh copy; or see that nothing was lost, " +
		"in the error log of its primary (a crash), with `SHOW BINARY LOGS` (RESET MASTER) and " +
		"by asking who works on it (an older datadir), then compare all data and accept the " +
		"history, saying why",
		Actions: []errs.Action{errs.Call("RebuildReplica", "name", name),
			errs.Call("VerifyReplica", "name", name, "level", "VERIFY_LEVEL_FULL",
				"accept_history", AcceptWhy)}}
}

// source is what writes transactions in one order.
type source struct{ domain, server uint32 }

// lastOf is the last transaction of each source in a list of GTIDs; what cannot be read has none.
func lastOf(list string) map[source]uint64 {
	last := map[source]uint64{}
	for item := range strings.SplitSeq(list, ",") {
		if g, err := gtid.Parse(strings.TrimSpace(item)); err == nil {
			from := source{g.Domain, g.ServerID}
			last[from] = max(last[from], g.Sequence)
		}
	}
	return last
}
