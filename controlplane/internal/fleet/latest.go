package fleet

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// Observation is what is known of a server whose agent answers.
type Observation struct {
	// Status is what its agent reported.
	Status replication.Status
	// Behind is how many transactions of its primary a replica has not applied, if Compared.
	Behind uint64
	// Compared is true when the positions of both are known.
	Compared bool
	// Disk is how the datadir's filesystem fills.
	Disk Disk
}

// Latest is what is known, by server. A server that is silent has no entry.
func (m *Monitor) Latest() map[string]Observation {
	latest, replicas := map[string]Observation{}, map[string]string{}
	now := time.Now()
	for _, f := range m.followers() {
		if o, ok := f.observation(now); ok {
			latest[f.name] = o
			if srv := f.record(); srv.Role == inventory.RoleReplica {
				replicas[f.name] = srv.Primary
			}
		}
	}
	for name, primary := range replicas {
		latest[name] = compared(latest[name], latest[primary])
	}
	return latest
}

func (f *follower) observation(now time.Time) (Observation, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.At.IsZero() || f.silent(now) != "" {
		return Observation{}, false
	}
	return Observation{Status: f.last.Status, Disk: f.diskNow}, true
}

func compared(replica, primary Observation) Observation {
	if !replica.Status.Answers || !primary.Status.Answers {
		return replica
	}
	behind, err := replication.Missing(replica.Status.SlavePos, primary.Status.BinlogPos)
	if err == nil {
		replica.Behind, replica.Compared = behind, true
	}
	return replica
}

// Disk is how the filesystem of a server's datadir fills; false when it is not known.
func (m *Monitor) Disk(server string) (Disk, bool) {
	f := m.follower(server)
	if f == nil {
		return Disk{}, false
	}
	o, ok := f.observation(time.Now())
	return o.Disk, ok && o.Disk.FreeBytes+o.Disk.UsedBytes > 0
}
