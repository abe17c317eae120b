package fleet

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/gtid"
)

// stillAfter is how long a replica that is behind may apply nothing, both its threads running,
// until that is a finding. Transactions of minutes are rare, and a lock that is forgotten lasts for
// ever.
const stillAfter = 5 * time.Minute

// standstill follows the position that a replica has applied, each domain by itself: where one
// stands still another may go on. Its zero value knows nothing yet.
type standstill struct {
	at    gtid.Position        // the position
	since map[uint32]time.Time // since when the replica is there and behind, by domain
}

// observe takes both statuses. known is since when it stood still before, as the record says; zero
// when it did not.
func (s *standstill) observe(replica, primary replication.Status, known, now time.Time) {
	at, err := gtid.ParsePosition(replica.SlavePos)
	ahead, unread := gtid.ParsePosition(primary.BinlogPos)
	if err != nil || unread != nil || !primary.Answers {
		return
	}
	conn, _ := replication.Find(replica.Connections, "")
	runs := replica.Answers && replication.Diagnose(conn).Threads == replication.Running
	was, first := *s, s.since == nil
	s.at, s.since = at, map[uint32]time.Time{}
	for _, target := range ahead.GTIDs() {
		d := target.Domain
		before, _ := was.at.Domain(d)
		reached, _ := at.Domain(d)
		since, stood := was.since[d]
		switch {
		case at.Missing(gtid.Of(target)) == 0:
		case stood && runs && before == reached:
			s.since[d] = since
		case first && runs && !known.IsZero():
			s.since[d] = known.Add(-stillAfter)
		default:
			s.since[d] = now
		}
	}
}

// lasts is since when it stands still for too long; zero when it does not.
func (s *standstill) lasts(now time.Time) (longest time.Time) {
	for _, since := range s.since {
		if now.Sub(since) >= stillAfter && (longest.IsZero() || since.Before(longest)) {
			longest = since
		}
	}
	return longest
}

// stands is the finding that a replica applies nothing. It stays on record until its position was
// compared.
func (f *follower) stands() []replication.Finding {
	if f.still.since == nil {
		return f.recorded(replication.ReplicationStill)
	}
	since := f.still.lasts(time.Now())
	if since.IsZero() {
		return nil
	}
	return []replication.Finding{replication.Still(f.name, since, f.last.Status)}
}
