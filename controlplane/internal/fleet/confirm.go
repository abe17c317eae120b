package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

const (
	// defaultConfirm is how often what replicas read on is confirmed.
	defaultConfirm = 10 * time.Second
	// sameRun is how far two starts that were told of one run of MariaDB may be apart.
	sameRun = 3 * time.Second
)

// question is a call that confirms the history of a server's binary log.
type question struct {
	f       *follower
	l       *ledger
	address string
	started time.Time
	known   replication.Known
}

// confirmHistories asks the agents whether their binary logs have what is known of their histories.
// Each call has a goroutine of its own.
func (m *Monitor) confirmHistories(ctx context.Context, start func(call func())) {
	for _, f := range m.followers() {
		if q, ask := f.question(time.Now()); ask {
			start(func() { m.confirm(ctx, q) })
		}
	}
}

// question is what there is to confirm now.
func (f *follower) question(now time.Time) (q question, ask bool) {
	f.mu.Lock()
	st, told := f.last.Status, !f.last.At.IsZero() && f.silent(now) == ""
	q = question{f: f, l: f.m.ledgers.of(f.name), address: f.srv.Address, started: st.Started}
	f.mu.Unlock()
	if !told || !st.Answers || !st.LogBin || st.BinlogFile == "" || st.Held {
		return q, false
	}
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	lost, known := st.BinlogHistory == "", q.l.known
	asked, every := now.Sub(q.l.asked), f.m.cfg.Confirm
	if q.l.asking || asked < every/10 || !q.l.open(st, asked >= every) ||
		(lost || known.Restored) && !f.m.heardReplicas(f.name, known.Claim.ID, now) {
		return q, false
	}
	if q.known = known; lost {
		q.known = known.ForNone()
	}
	q.known.Reads = slices.Clone(q.known.Reads)
	q.l.asking, q.l.news = true, false
	return q, true
}

// open reports whether something is not confirmed: an agent without a history, another run of
// MariaDB, something that was read since, once that is due.
func (l *ledger) open(st replication.Status, due bool) bool {
	switch {
	case st.BinlogHistory == "":
		return true
	case l.known.Claim.ID != st.BinlogHistory: // of an agent that tells no claim, or not yet
		return false
	case !l.confirmedOf(st):
		return true
	}
	return l.news && (due || l.known.Beyond())
}

// confirmedOf reports whether it is confirmed of the MariaDB that runs.
func (l *ledger) confirmedOf(st replication.Status) bool {
	return !l.run.IsZero() && st.Started.Sub(l.run).Abs() <= sameRun
}

// heardReplicas reports whether it is known of each replica that follows that history how far it
// has read, as far as it can be.
func (m *Monitor) heardReplicas(primary, history string, now time.Time) bool {
	if history == "" {
		return true
	}
	for _, f := range m.followers() {
		f.mu.Lock()
		srv, known := f.srv, f.noted || f.silent(now) != ""
		f.mu.Unlock()
		if srv.Role == inventory.RoleReplica && srv.Primary == primary && srv.InService() &&
			srv.History == history && !known {
			return false
		}
	}
	return true
}

func (m *Monitor) confirm(ctx context.Context, q question) {
	id, err := m.cfg.Agents.ConfirmHistory(ctx, q.f.name, q.address, q.known)
	if err != nil {
		m.cfg.Log.Debug("cannot confirm the history of a binary log", "server", q.f.name,
			"error", err)
	}
	q.l.mu.Lock()
	defer q.l.mu.Unlock()
	q.l.asking, q.l.asked = false, time.Now()
	switch {
	case errs.KindOf(err) == errs.Unimplemented: // by an older agent
		q.l.run = q.started
	case err != nil || id == "":
		q.l.news = q.l.news || len(q.known.Reads) > 0
	case id == q.known.Claim.ID:
		q.l.known.Confirmed(q.known)
		q.l.run = q.started
	default:
		q.l.run = q.started
		m.cfg.Log.Warn("a binary log does not have the history that was known", "server", q.f.name)
	}
}
