package kit

import (
	"sync"
	"time"
)

// leases remembers when a job's reservation of binary logs was renewed last; losing it costs one
// call.
type leases struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// LeaseDue reports whether the job's reservation of binary logs is to be renewed.
func (c *Call) LeaseDue() bool {
	c.leases.mu.Lock()
	defer c.leases.mu.Unlock()
	last, ok := c.leases.last[c.JobID]
	return !ok || time.Since(last) > DefaultReserve/8
}

// LeaseRenewed notes that the job's reservation was renewed.
func (c *Call) LeaseRenewed() {
	c.leases.mu.Lock()
	defer c.leases.mu.Unlock()
	c.leases.last[c.JobID] = time.Now()
}

// ForgetLease makes the next step reserve again.
func (c *Call) ForgetLease() {
	c.leases.mu.Lock()
	defer c.leases.mu.Unlock()
	delete(c.leases.last, c.JobID)
}

// Reservation is the id under which this job keeps binary logs: its snapshot's, unless that was
// there already and may be in other jobs' use.
func (c *Call) Reservation(a SnapshotArgs) string {
	if a.Given {
		return "job-" + c.JobID
	}
	return a.Snapshot
}
