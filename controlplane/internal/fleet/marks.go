package fleet

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// marks are what the agent noted of replication, as far as it is known now.
type marks struct {
	seen inventory.MarksSeen
	why  string // its data is not proved; empty when nothing new was noted
	news bool   // seen is not what is on record
}

// marks compares what the agent of a server noted with what is on record. Of a copy that is new,
// all that was noted counts: the agent begins to note where the copy begins to follow. Another
// control plane may have heard the agent later than this one: what it recorded is compared with
// what the agent observed since that was known here.
func (f *follower) marks(srv inventory.Server, at time.Time) marks {
	now := f.last.Marks
	if srv.Role != inventory.RoleReplica || !srv.InService() || now.Record == "" ||
		f.silent(at) != "" {
		return marks{}
	}
	m := marks{seen: inventory.MarksSeen{Record: now.Record, Number: now.Last,
		Volume: srv.DataVolume}}
	was := srv.MarksSeen
	later := was.Record == now.Record && was.Volume == srv.DataVolume && was.Number < now.Last
	m.news = m.seen != was && (later || f.last.At.After(f.seenAt))
	if !m.news {
		return m
	}
	if was.Record == "" || was.Volume != srv.DataVolume {
		was = inventory.MarksSeen{Record: now.Record}
		if len(now.All) == 0 {
			was.Number = now.Last
		}
	}
	m.why = now.News(was.Record, was.Number)
	return m
}

// take notes them on the record, in whose transaction both are true.
func (m marks) take(srv *inventory.Server, now time.Time) {
	if m.why != "" {
		srv.DoubtData(string(replication.DataUnproved), m.why, inventory.VerifyFull, now)
	}
	srv.MarksSeen = m.seen
}
