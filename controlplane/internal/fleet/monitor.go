// Package fleet looks after the servers that there are: their health, and policies such as binlog
// auto purge.
package fleet

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

const (
	rosterEvery = time.Second      // between two looks for new servers
	touchEvery  = 10 * time.Second // between two writes of the last answers
	storeLimit  = 10 * time.Second // for one look into the store
	lateAfter   = 15 * time.Second
)

// Jobs are the jobs on record.
type Jobs interface {
	// List reads a page of jobs.
	List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
	// Get reads a job.
	Get(ctx context.Context, id string) (job.Job, error)
}

// Agents are the agents of all servers.
type Agents interface {
	// Observe gives what an agent observes to take, at least once an interval, until ctx ends or
	// the agent is out of reach. last is what was told last.
	Observe(ctx context.Context, server, address string, interval time.Duration,
		last replication.Observed, take func(replication.Observed)) error
	// ConfirmHistory tells the agent what is known of the history of its binary log, and answers
	// with the history that it has; empty when it cannot tell it yet.
	ConfirmHistory(ctx context.Context, server, address string,
		known replication.Known) (string, error)
	// Forget closes the connection to the agent of a server that is gone.
	Forget(server string)
}

// MonitorConfig is what a monitor needs; all of it is required.
type MonitorConfig struct {
	Store  *store.Store
	Agents Agents
	Jobs   Jobs
	// Differs is what continuous verification found to differ of a replica on its volume; false
	// when it is not known yet. nil: nothing does.
	Differs func(server, volume string) (replication.Differences, bool)
	// ProvedSince is true when continuous verification found all data of a replica equal to that of
	// the primary that it follows, in a round that began after a time. nil: nothing does.
	ProvedSince func(s inventory.Server, since time.Time) bool
	// Reconnect has the job that made a replica set its connection up again. nil: nothing does.
	Reconnect func(job string) []errs.Action
	// Remount has the job that made a server mount its volume again, and start MariaDB on it. nil:
	// nothing does.
	Remount func(job string) []errs.Action
	// Lost hears of each agent that a call to has ended: what answers next may have begun again.
	// nil: nobody does.
	Lost func(server string)
	// AccessOpen says why a replica whose agent was revoked can read its primary still; empty while
	// nobody has tried to end that in vain. nil: nobody ever does.
	AccessOpen func(server string) string
	// Account is the name of a replica's account on its primary. nil: its own name.
	Account func(server string) string
	// Beat is the longest time between two observations of an agent.
	Beat time.Duration
	// UnreachableAfter is how long an agent may be silent before its server is UNREACHABLE.
	UnreachableAfter time.Duration
	// DegradedAfter is how long a server may be unhealthy before it is DEGRADED. At 0 it is so at
	// once; what comes and goes is damped as at a second.
	DegradedAfter time.Duration
	// Confirm is how often an agent confirms what replicas read on of its binary log; 10 s if 0.
	// Nothing is asked of it twice within a tenth of that, and what is known is recorded as often.
	Confirm time.Duration
	Loops   *loop.Set
	Log     *slog.Logger
}

// Monitor follows every server's agent, each in a goroutine of its own, and records the state of
// the server. A server that a job is making or deleting it leaves to the job. docs/health.md has
// the terms and the rules.
type Monitor struct {
	cfg MonitorConfig

	mu       sync.Mutex
	followed map[string]*follower

	changes changes
	ledgers ledgers
	// rostered: all servers are followed.
	rostered atomic.Bool
	touched  time.Time // begin of the latest round of touch that was recorded
}

// NewMonitor makes a monitor.
func NewMonitor(cfg MonitorConfig) *Monitor {
	cfg.Confirm = cmp.Or(cfg.Confirm, defaultConfirm)
	if cfg.Differs == nil {
		cfg.Differs = func(string, string) (replication.Differences, bool) {
			return replication.Differences{}, true
		}
	}
	if cfg.ProvedSince == nil {
		cfg.ProvedSince = func(inventory.Server, time.Time) bool { return false }
	}
	if cfg.Reconnect == nil {
		cfg.Reconnect = func(string) []errs.Action { return nil }
	}
	if cfg.Remount == nil {
		cfg.Remount = func(string) []errs.Action { return nil }
	}
	if cfg.Lost == nil {
		cfg.Lost = func(string) {}
	}
	if cfg.AccessOpen == nil {
		cfg.AccessOpen = func(string) string { return "" }
	}
	if cfg.Account == nil {
		cfg.Account = func(server string) string { return server }
	}
	return &Monitor{cfg: cfg, followed: map[string]*follower{},
		changes: changes{names: map[string]struct{}{}, wake: make(chan struct{}, 1)}}
}

// Run follows all servers until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		m.cfg.Loops.Run(ctx, loop.Spec{Name: "read the servers", Every: rosterEvery,
			Limit: storeLimit, LateAfter: lateAfter,
			Means: "new servers are not observed"},
			func(bounded context.Context) error { return m.roster(ctx, bounded) })
	})
	all.Go(func() {
		m.cfg.Loops.Run(ctx, loop.Spec{Name: "record who answers", Every: touchEvery,
			Limit: storeLimit, LateAfter: 2*touchEvery + lateAfter,
			Means: "the times of the last answers are old"}, m.touch)
	})
	all.Go(func() {
		m.cfg.Loops.Run(ctx, loop.Spec{Name: "confirm the histories of binary logs",
			Every: rosterEvery, Limit: storeLimit, LateAfter: lateAfter,
			Means: "a binary log that lacks what replicas have read is not noticed"},
			func(context.Context) error { m.confirmHistories(ctx, all.Go); return nil })
	})
	all.Go(func() {
		m.cfg.Loops.Run(ctx, loop.Spec{Name: "record the histories of binary logs",
			Every: m.cfg.Confirm, Limit: storeLimit, LateAfter: 2*m.cfg.Confirm + lateAfter,
			Means: "what is known of the histories of binary logs is old"}, m.keepLedgers)
	})
	m.recordAll(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.followed {
		all.Go(f.leave)
	}
}

// jobsOwn reports whether a job owns a server in that state, or it is gone.
func jobsOwn(state inventory.ServerState) bool {
	return state == inventory.ServerProvisioning || state == inventory.ServerStopping ||
		state == inventory.ServerDeleting || state == inventory.ServerDeleted
}

// roster follows the servers that there are; ctx is that of their followers.
func (m *Monitor) roster(ctx, bounded context.Context) error {
	if err := m.readLedgers(bounded); err != nil {
		return err
	}
	changed, gone, err := m.difference(bounded)
	if err != nil {
		return err
	}
	for _, name := range gone {
		m.unfollow(name)
		m.cfg.Agents.Forget(name)
	}
	for _, srv := range changed {
		if jobsOwn(srv.State) {
			m.replace(newFollower(m, srv)) // its record is kept
			continue
		}
		m.follow(ctx, srv)
	}
	m.rostered.Store(true)
	m.introduce()
	return m.askForJobs(bounded)
}

// difference reads the records that changed since the last look, and which servers are gone.
func (m *Monitor) difference(ctx context.Context) (changed []inventory.Server, gone []string,
	err error) {
	err = m.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		changed, gone = nil, nil
		revs, err := tx.Servers().Revs(ctx)
		if err != nil {
			return err
		}
		known := m.revs()
		for name := range known {
			if _, there := revs[name]; !there {
				gone = append(gone, name)
			}
		}
		var names []string
		for name, rev := range revs {
			if known[name] != rev {
				names = append(names, name)
			}
		}
		changed, err = tx.Servers().Some(ctx, names)
		return err
	})
	return changed, gone, err
}

func (m *Monitor) revs() map[string]int64 {
	revs := map[string]int64{}
	for _, f := range m.followers() {
		revs[f.name] = f.record().Rev
	}
	return revs
}

// follow begins to follow a server, or tells its follower what its record is now.
func (m *Monitor) follow(ctx context.Context, srv inventory.Server) {
	before := m.follower(srv.Name)
	if before != nil && before.follows(srv) {
		before.know(srv)
		return
	}
	f := newFollower(m, srv)
	// READY on record since the look before, it was recorded so by a job that ran meanwhile.
	f.vouched = before == nil && m.rostered.Load() ||
		before != nil && before.record().State != inventory.ServerReady
	m.replace(f)
	f.start(ctx)
}

// replace puts a follower in the place of the server's, so that it has one all the time, and waits
// for the end of that.
func (m *Monitor) replace(f *follower) {
	m.mu.Lock()
	before := m.followed[f.name]
	m.followed[f.name] = f
	m.mu.Unlock()
	if before != nil {
		before.leave()
	}
}

func (m *Monitor) unfollow(name string) {
	m.mu.Lock()
	f := m.followed[name]
	delete(m.followed, name)
	m.mu.Unlock()
	if f != nil {
		f.leave()
	}
}

// introduce tells the followers of replicas where their primaries are, and which replicas those
// have: what they list, and who says so of itself. Of two with one server_id a primary lists one,
// in turns.
func (m *Monitor) introduce() {
	all := m.followers()
	replicas := map[string][]replication.Connected{}
	for _, f := range all {
		if srv, status := f.known(); srv.Primary != "" && status.Answers {
			replicas[srv.Primary] = append(replicas[srv.Primary],
				replication.Connected{ServerID: status.ServerID, Host: srv.Name})
		}
	}
	for _, f := range all {
		if name := f.record().Primary; name != "" {
			primary := m.follower(name)
			if primary == nil { // its record is missing: whatever the replica follows is wrong
				f.meet(inventory.Server{}, replication.Status{})
				continue
			}
			srv, status := primary.known()
			status.Replicas = slices.Concat(status.Replicas, replicas[name])
			f.meet(srv, status)
		}
	}
}

// follower is the one of a server; nil when there is none.
func (m *Monitor) follower(server string) *follower {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.followed[server]
}

func (m *Monitor) followers() []*follower {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*follower, 0, len(m.followed))
	for _, f := range m.followed {
		all = append(all, f)
	}
	return all
}

// Servers are the records of all servers as they were read last, no more than seconds ago.
func (m *Monitor) Servers() []inventory.Server {
	var all []inventory.Server
	for _, f := range m.followers() {
		all = append(all, f.record())
	}
	return all
}

// askForJobs finds out whether the jobs that stopped replication on purpose still work on that.
func (m *Monitor) askForJobs(ctx context.Context) error {
	for _, f := range m.followers() {
		name := f.pausedBy()
		if name == "" {
			continue
		}
		j, err := m.cfg.Jobs.Get(ctx, strings.TrimPrefix(name, "jobs/"))
		if err != nil && errs.KindOf(err) != errs.NotFound {
			return err
		}
		if err != nil {
			f.excused(name, nil)
			continue
		}
		f.excused(name, &j)
	}
	return nil
}

// touch records when agents answered last: those that did since the round before, in one
// transaction with a statement for each second of that time.
func (m *Monitor) touch(ctx context.Context) error {
	since, now := m.touched, time.Now()
	answered := map[time.Time][]string{}
	for _, f := range m.followers() {
		if at, has := f.seen(); has && at.After(since) {
			at = at.Truncate(time.Second)
			answered[at] = append(answered[at], f.name)
		}
	}
	if len(answered) == 0 {
		return nil
	}
	err := m.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for at, names := range answered {
			if err := tx.Servers().Touch(ctx, at, names...); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		m.touched = now
	}
	return err
}
