package proof

import (
	"cmp"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// known is what this process knows of a replica; nil for nothing.
func (v *Verifier) known(server string) *replica {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.replicas[server]
}

// Coverage is how much of a replica is proved; false when nothing is known of it.
func (v *Verifier) Coverage(server string) (Coverage, bool) {
	r := v.known(server)
	if r == nil {
		return Coverage{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.rec.Coverage(time.Now())
	c.Paused = cmp.Or(r.away, c.Paused)
	return c, !r.rec.Began.IsZero()
}

// Differs is what differs of a replica on its volume; false when it is not known yet.
func (v *Verifier) Differs(server, volume string) (replication.Differences, bool) {
	r := v.known(server)
	if r == nil {
		return replication.Differences{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec.Volume != volume {
		return replication.Differences{}, true
	}
	return replication.Differences{Found: r.rec.Coverage(time.Now()).Different,
		Remedies: r.rec.remedies()}, true
}

// ProvedSince is true when all data of a replica was equal to that of the primary that it follows,
// in a round that began after a time, and has ended.
func (v *Verifier) ProvedSince(s inventory.Server, since time.Time) bool {
	r := v.known(s.Name)
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rec.ofReplica(s) && r.rec.provedSince(since)
}
