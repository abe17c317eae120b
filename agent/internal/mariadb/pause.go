package mariadb

// Pause says for which job replication is stopped on purpose, from before it is stopped; "" ends
// that. It lasts no longer than the agent.
func (rp *Replica) Pause(job string) { rp.pausedBy.Store(&job) }

// PausedBy is the job that Pause was called for last; "" for none.
func (rp *Replica) PausedBy() string {
	if job := rp.pausedBy.Load(); job != nil {
		return *job
	}
	return ""
}
