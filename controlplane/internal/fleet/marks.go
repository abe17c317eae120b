package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
)

// marks are what the agent noted of replication, as far as it is known now.
type marks struct {
	seen inventory.MarksSeen
	why  string // its data is not proved; empty when nothing new was noted
	lost string // rows that its replicas have may be lost here; empty when nothing says so
	news bool   // seen is not what is on record
}

// marks compares what the agent of a server noted with what is on record. Of a copy that is new,
// all that was noted counts: the agent begins to note where the copy begins to follow. Another
// control plane may have heard the agent later than this one: what it recorded is compared with
// what the agent observed since that was known here.
func (f *follower) marks(srv inventory.Server, at time.Time) marks {
	now := f.last.Marks
	if !srv.InService() || now.Record == "" || f.silent(at) != "" {
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
	if srv.Role == inventory.RoleReplica {
		m.why = now.News(was.Record, was.Number)
	}
	m.lost = now.Lost(was.Record, was.Number)
	return m
}

// take notes them on the record, in whose transaction both are true.
func (m marks) take(srv *inventory.Server, now time.Time) {
	if m.why != "" {
		srv.DoubtData(string(replication.DataUnproved), m.why, inventory.VerifyFull, now)
	}
	srv.MarksSeen = m.seen
}

// doubtReplicas notes on the records of the replicas of a server that they may have rows which it
// lost, and gives their names.
func doubtReplicas(ctx context.Context, tx *store.Tx, primary, lost string) ([]string, error) {
	names, err := tx.Servers().ReplicasOf(ctx, primary)
	if err != nil {
		return nil, err
	}
	replicas, err := tx.Servers().Some(ctx, names)
	if err != nil {
		return nil, err
	}
	why := fmt.Sprintf("its primary %s may lack rows that it has: %s", primary, lost)
	for _, replica := range replicas {
		replica.DoubtData(string(replication.DataUnproved), why, inventory.VerifyFull, time.Now())
		if err := tx.Servers().Update(ctx, &replica); err != nil {
			return nil, err
		}
	}
	return names, nil
}
