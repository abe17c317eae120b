package fleet

import (
	"maps"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
)

// Observation is what the latest round found of a server that answered.
type Observation struct {
	// Status is what its agent reported.
	Status replication.Status
	// Behind is how many transactions of its primary a replica has not applied, if Compared.
	Behind uint64
	// Compared is true when both positions were read in one round.
	Compared bool
	// Disk is how the datadir's filesystem fills.
	Disk Disk
}

// Latest is what the latest round found, by server. A server that did not answer has no entry.
func (m *Monitor) Latest() map[string]Observation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.latest)
}

// Disk is how the filesystem of a server's datadir fills; false when the latest round did not
// observe it.
func (m *Monitor) Disk(server string) (Disk, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.latest[server]
	return o.Disk, ok && o.Disk.FreeBytes+o.Disk.UsedBytes > 0
}

func (m *Monitor) publish(due []observation, at time.Time) {
	latest := map[string]Observation{}
	for _, o := range due {
		if o.err == nil {
			latest[o.server.Name] = Observation{Status: o.status,
				Disk: m.seen[o.server.Name].disk.observe(at, o.status)}
		}
	}
	for _, o := range due {
		replica, primary := latest[o.server.Name], latest[o.server.Primary]
		if o.server.Role != inventory.RoleReplica || !replica.Status.Answers ||
			!primary.Status.Answers {
			continue
		}
		behind, err := replication.Missing(replica.Status.SlavePos, primary.Status.BinlogPos)
		if err == nil {
			replica.Behind, replica.Compared = behind, true
			latest[o.server.Name] = replica
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latest = latest
}
