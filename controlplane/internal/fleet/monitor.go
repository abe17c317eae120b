// Package fleet looks after the servers that there are: their health, and policies such as binlog
// auto purge.
package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	observeLimit  = 10 * time.Second // for one agent
	observeAtOnce = 8                // agents at a time
	storeLimit    = 10 * time.Second // for one look into the store
	roundLimit    = 10 * time.Minute // for all agents
	lateRounds    = 3
)

// Jobs are the jobs on record.
type Jobs interface {
	// List reads a page of jobs.
	List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
}

// MonitorConfig is what a monitor needs; all of it is required.
type MonitorConfig struct {
	Store  *store.Store
	Agents kit.Agents
	// Forget closes the connection to the agent of a server that is gone.
	Forget func(server string)
	Jobs   Jobs
	// Interval is how often every agent is observed.
	Interval time.Duration
	// UnreachableAfter is how long an agent may be silent before its server is UNREACHABLE.
	UnreachableAfter time.Duration
	// DegradedAfter is how long a server may be unhealthy before it is DEGRADED.
	DegradedAfter time.Duration
	Loops         *loop.Set
	Log           *slog.Logger
}

// Monitor observes every server's agent and records the state of the server. A server that a job is
// making or deleting it leaves to the job.
type Monitor struct {
	cfg  MonitorConfig
	seen map[string]*observed

	mu     sync.Mutex
	latest map[string]Observation
}

// NewMonitor makes a monitor.
func NewMonitor(cfg MonitorConfig) *Monitor {
	return &Monitor{cfg: cfg}
}

// observed is what this process knows of a server. Its times carry the monotonic clock, so that a
// clock that steps changes nothing.
type observed struct {
	answered time.Time // last answer; the first observation when there was none
	healthy  time.Time // last observation without a problem; the first when there was none
	disk     diskTrend
}

// observation is what was found of a server.
type observation struct {
	server inventory.Server
	status replication.Status
	err    error
}

// Run observes until ctx ends. A round takes as long as its agents do, each of which has a limit.
func (m *Monitor) Run(ctx context.Context) {
	m.cfg.Loops.Run(ctx, loop.Spec{Name: "observe the servers", Every: m.cfg.Interval,
		Limit: roundLimit, LateAfter: lateRounds*m.cfg.Interval + observeLimit + storeLimit,
		Means: "the states of the servers are old"}, m.round)
}

// round observes all servers that have an agent.
func (m *Monitor) round(ctx context.Context) error {
	all, err := m.servers(ctx)
	if err != nil {
		return err
	}
	known := map[string]inventory.Server{}
	var due []observation
	for _, srv := range all {
		known[srv.Name] = srv
		if srv.Address != "" && srv.AgentIdentity != "" && !jobsOwn(srv.State) {
			due = append(due, observation{server: srv})
		}
	}
	m.forget(due, known)
	m.observe(ctx, due)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.publish(due, time.Now())
	if err := m.touch(ctx, due, time.Now()); err != nil {
		return err
	}
	for _, o := range due {
		if err := m.record(ctx, o, known); err != nil {
			return err
		}
	}
	return nil
}

func (m *Monitor) servers(ctx context.Context) (all []inventory.Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	err = m.cfg.Store.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = tx.Servers().All(ctx)
		return err
	})
	return all, err
}

// jobsOwn reports whether a job owns a server in that state, or it is gone.
func jobsOwn(state inventory.ServerState) bool {
	return state == inventory.ServerProvisioning || state == inventory.ServerDeleting ||
		state == inventory.ServerDeleted
}

// forget drops connections to servers that are gone, and what was seen of servers that are not
// observed any more.
func (m *Monitor) forget(due []observation, known map[string]inventory.Server) {
	kept := map[string]*observed{}
	for _, o := range due {
		seen := m.seen[o.server.Name]
		if seen == nil {
			seen = &observed{answered: time.Now(), healthy: time.Now()}
		}
		kept[o.server.Name] = seen
	}
	for name := range m.seen {
		if _, there := known[name]; !there {
			m.cfg.Forget(name)
		}
	}
	for name, srv := range known { // also of one that a job made or deleted
		if srv.State == inventory.ServerDeleted {
			m.cfg.Forget(name)
		}
	}
	m.seen = kept
}

func (m *Monitor) observe(ctx context.Context, due []observation) {
	var group errgroup.Group
	group.SetLimit(observeAtOnce)
	for i := range due {
		group.Go(func() error {
			bounded, cancel := context.WithTimeout(ctx, observeLimit)
			defer cancel()
			agent, err := m.cfg.Agents.Agent(bounded, due[i].server.Name)
			if err == nil {
				due[i].status, err = agent.Status(bounded)
			}
			due[i].err = err
			return nil
		})
	}
	_ = group.Wait() // none of them answers with an error
}

// record writes down an observation, if it changes what is known.
func (m *Monitor) record(ctx context.Context, o observation,
	known map[string]inventory.Server) error {
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	seen, now := m.seen[o.server.Name], time.Now()
	if o.err == nil {
		seen.answered = now
	}
	health, why := judge(o, known, m.latest[o.server.Primary].Status)
	if health == replication.Healthy {
		seen.healthy = now
	}
	to, ok := m.decide(o.server.State, health, now.Sub(seen.answered), now.Sub(seen.healthy))
	if !ok || to == o.server.State && (to == inventory.ServerReady || why == o.server.StateReason) {
		return nil
	}
	if to != inventory.ServerUnreachable {
		busy, err := m.busy(ctx, o.server)
		if err != nil || busy {
			return err
		}
	}
	return m.move(ctx, o.server, to, why)
}

// judge tells how a server is by its role.
func judge(o observation, known map[string]inventory.Server,
	followed replication.Status) (replication.Health, string) {
	if o.server.Role != inventory.RoleReplica {
		return replication.JudgePrimary(o.status, o.err, o.server.ServerID)
	}
	lineage := replication.Lineage{History: o.server.History}
	if why := lineage.Broken(followed); why != "" && o.err == nil {
		return replication.Degraded, "its primary is not what it follows any more: " + why
	}
	primary := known[o.server.Primary]
	return replication.JudgeReplica(o.status, o.err, replication.Want{
		ServerID: o.server.ServerID, PrimaryHost: primary.Address, PrimaryPort: primary.Port,
	})
}

// decide is the state that follows from an observation; false leaves the state to whoever set it.
func (m *Monitor) decide(state inventory.ServerState, health replication.Health, silent,
	ill time.Duration) (inventory.ServerState, bool) {
	switch state {
	case inventory.ServerReady, inventory.ServerDegraded, inventory.ServerUnreachable:
	default:
		return state, false
	}
	switch {
	case health == replication.Healthy:
		return inventory.ServerReady, true
	case health == replication.Unreachable:
		return inventory.ServerUnreachable, silent >= m.cfg.UnreachableAfter
	default:
		// One that comes back ill has been ill for as long as it was not seen.
		return inventory.ServerDegraded, ill >= m.cfg.DegradedAfter
	}
}

// touch records which agents answered, all of them in one transaction.
func (m *Monitor) touch(ctx context.Context, due []observation, at time.Time) error {
	answered := slices.DeleteFunc(slices.Clone(due),
		func(o observation) bool { return o.err != nil })
	if len(answered) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	return m.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, o := range answered {
			if err := tx.Servers().Touch(ctx, o.server.Name, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// busy reports whether a job works on the server, which may stop what the server is for.
func (m *Monitor) busy(ctx context.Context, srv inventory.Server) (bool, error) {
	for _, subject := range []string{srv.Subject(), "snapshotting/" + srv.Name} {
		jobs, _, err := m.cfg.Jobs.List(ctx, job.Filter{
			Subject: subject, States: []job.State{job.Queued, job.Running, job.Waiting,
				job.Cancelling}, PageSize: 1,
		})
		if err != nil || len(jobs) > 0 {
			return len(jobs) > 0, err
		}
	}
	return false, nil
}

// move changes the server's state, unless it changed meanwhile.
func (m *Monitor) move(ctx context.Context, was inventory.Server, to inventory.ServerState,
	why string) error {
	moved := false
	err := m.cfg.Store.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		moved = false
		srv, err := tx.Servers().Get(ctx, was.Name)
		if errors.Is(err, inventory.ErrNotFound) || err == nil &&
			(srv.State != was.State || srv.MachineID != was.MachineID) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := srv.SetState(to, why); err != nil {
			return err
		}
		if err := tx.Servers().Update(ctx, &srv); err != nil {
			return err
		}
		moved = true
		if to == was.State {
			return nil // the reason alone is no event
		}
		return tx.Events().Add(ctx, inventory.Event{
			Actor: identity.ControlPlane().String(), Action: "server.state", Subject: srv.Subject(),
			Message: stateText(to, why),
		})
	})
	if err == nil && moved && to != was.State {
		level := slog.LevelInfo
		if to == inventory.ServerDegraded || to == inventory.ServerUnreachable {
			level = slog.LevelWarn
		}
		m.cfg.Log.Log(ctx, level, "server changed", "server", was.Name, "from", string(was.State),
			"to",
			string(to), "reason", why)
	}
	return err
}

func stateText(to inventory.ServerState, why string) string {
	if why == "" {
		return "is " + string(to)
	}
	return "is " + string(to) + ": " + why
}
