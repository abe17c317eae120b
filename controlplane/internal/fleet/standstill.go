package fleet

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// stillAfter is how long a replica that is behind may apply nothing, both its threads running,
// until that is a finding. Transactions of minutes are rare, and a lock that is forgotten lasts for
// ever.
const stillAfter = 5 * time.Minute

// standstill follows the position that a replica has applied. Its zero value knows nothing yet.
type standstill struct {
	at    string    // the position
	since time.Time // since when the replica is there and behind
	ahead bool      // its primary is ahead of it, or was when it answered last
}

// observe takes both statuses. known is since when it stood still before, as the record says; zero
// when it did not.
func (s *standstill) observe(replica, primary replication.Status, known, now time.Time) {
	conn, _ := replication.Find(replica.Connections, "")
	runs := replica.Answers && replication.Diagnose(conn).Threads == replication.Running
	if replica.SlavePos != s.at || !runs || s.since.IsZero() {
		first := s.since.IsZero()
		s.at, s.since = replica.SlavePos, now
		if first && runs && !known.IsZero() {
			s.since = known.Add(-stillAfter)
		}
	}
	if primary.Answers {
		missing, err := replication.Missing(replica.SlavePos, primary.BinlogPos)
		s.ahead = err == nil && missing > 0
	}
	if !s.ahead {
		s.since = now
	}
}

// lasts is since when it stands still for too long; zero when it does not.
func (s *standstill) lasts(now time.Time) time.Time {
	if s.since.IsZero() || now.Sub(s.since) < stillAfter {
		return time.Time{}
	}
	return s.since
}

// stands is the finding that a replica applies nothing. It stays on record until its position was
// compared.
func (f *follower) stands() []replication.Finding {
	if f.still.since.IsZero() {
		return f.recorded(replication.ReplicationStill)
	}
	since := f.still.lasts(time.Now())
	if since.IsZero() {
		return nil
	}
	return []replication.Finding{replication.Still(f.name, since, f.last.Status)}
}
