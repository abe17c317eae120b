package kit

import (
	"maps"
	"sync"
	"time"
)

// leases remembers when each job's reservation of binary logs was renewed last; losing it costs one
// call.
type leases struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// Lease is a job's reservation of binary logs, as this process remembers it.
type Lease struct {
	all *leases
	job string
}

// Lease is this job's.
func (c *Call) Lease() Lease { return Lease{all: &c.leases, job: c.JobID} }

// Due reports whether the reservation is to be renewed.
func (l Lease) Due() bool {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	last, ok := l.all.last[l.job]
	return !ok || time.Since(last) > DefaultReserve/8
}

// Renewed notes that it was renewed.
func (l Lease) Renewed() {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	// jobs that ended in another process, or without a release, are forgotten here
	maps.DeleteFunc(l.all.last, func(_ string, at time.Time) bool {
		return time.Since(at) > DefaultReserve
	})
	l.all.last[l.job] = time.Now()
}

// Forget makes the next step reserve again.
func (l Lease) Forget() {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	delete(l.all.last, l.job)
}
