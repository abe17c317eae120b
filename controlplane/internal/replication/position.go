package replication

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/understudy-db/understudy/proto/gtid"
)

// Point is the position that was recorded with a snapshot.
type Point struct {
	Low       string // the position; the lowest one when the snapshot was taken without a lock
	High      string // the highest one; empty when Low is exact
	OfReplica bool   // the source was itself a replica: the copy has it in its gtid_slave_pos
}

// Recovered is the position that a copy came up with: its binary log's, or what it had applied when
// the source was a replica itself.
func (p Point) Recovered(s Status) string {
	if p.OfReplica {
		return s.SlavePos
	}
	return s.BinlogPos
}

// Check refuses a copy that did not come up at the recorded position. Both positions are in the
// error.
func (p Point) Check(s Status) error {
	got, err := gtid.ParsePosition(p.Recovered(s))
	if err != nil {
		return fmt.Errorf("cannot read the position that MariaDB recovered: %w", err)
	}
	low, err := gtid.ParsePosition(p.Low)
	if err != nil {
		return fmt.Errorf("cannot read the recorded position: %w", err)
	}
	if p.High == "" {
		if !got.Equal(low) {
			return fmt.Errorf("the copy came up at %s, the snapshot recorded %s", said(got),
				said(low))
		}
		return nil
	}
	high, err := gtid.ParsePosition(p.High)
	if err != nil {
		return fmt.Errorf("cannot read the recorded position: %w", err)
	}
	if err := got.Between(low, high); err != nil {
		return fmt.Errorf("the copy came up at %s, the snapshot recorded %s to %s: %w", said(got),
			said(low), said(high), err)
	}
	return nil
}

// Errant is the transactions that a replica wrote itself, seen in its gtid_binlog_state under its
// own server_id; empty when there are none. A replica that once was a primary under the same
// server_id has them rightly.
func Errant(s Status) string {
	if s.ServerID == 0 {
		return ""
	}
	var own []string
	for item := range strings.SplitSeq(s.BinlogState, ",") {
		item = strings.TrimSpace(item)
		if parts := strings.Split(item, "-"); len(parts) == 3 &&
			parts[1] == strconv.FormatUint(uint64(s.ServerID), 10) {
			own = append(own, item)
		}
	}
	return strings.Join(own, ",")
}

// Bears reports whether a gtid_binlog_state has transactions of a server_id.
func Bears(binlogState string, serverID uint32) bool {
	return LeftOut(serverID, Status{BinlogState: binlogState}, "") != ""
}

// LeftOut are the transactions in the binary log of a primary that bear the server_id of a replica:
// it takes them for its own, and leaves them out without an error. Those up to a position that it
// had or was proved at are not among them; empty when there are none.
func LeftOut(serverID uint32, primary Status, since string) string {
	had, err := gtid.ParsePosition(since)
	if err != nil || serverID == 0 {
		return ""
	}
	var all []string
	for item := range strings.SplitSeq(primary.BinlogState, ",") {
		one, err := gtid.Parse(strings.TrimSpace(item))
		if err == nil && one.ServerID == serverID && had.Missing(gtid.Of(one)) > 0 {
			all = append(all, one.String())
		}
	}
	return strings.Join(all, ",")
}

// Missing is how many transactions a replica at one position lacks of another; numbers may have
// gaps, so it is an upper bound. An unreadable position counts as known to nobody.
func Missing(at, target string) (uint64, error) {
	have, err := gtid.ParsePosition(at)
	if err != nil {
		return 0, err
	}
	want, err := gtid.ParsePosition(target)
	if err != nil {
		return 0, err
	}
	return have.Missing(want), nil
}

// Covers reports whether a server at one position has everything of another.
func Covers(at, target string) (bool, error) {
	have, err := gtid.ParsePosition(at)
	if err != nil {
		return false, err
	}
	want, err := gtid.ParsePosition(target)
	if err != nil {
		return false, err
	}
	return have.Contains(want), nil
}

func said(p gtid.Position) string {
	if p.IsEmpty() {
		return "the empty position"
	}
	return p.String()
}
