package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	lookLimit  = 10 * time.Second // for one agent
	looksAtOne = 8                // agents at a time
)

// monitor looks at every server's agent again and again and records how the server is. What a job
// is making or taking away it leaves to the job.
type monitor struct {
	st          *store.Store
	agents      workflow.Agents
	forgetAgent func(server string)
	jobs        interface {
		List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
	}
	cfg    Config
	log    *slog.Logger
	sights map[string]*sight
}

// sight is what this process has seen of a server. Its times carry the monotonic clock, so that a
// clock that steps changes nothing.
type sight struct {
	answered time.Time // last answer; the first look when there was none
	healthy  time.Time // last look that found nothing wrong; the first look when there was none
}

// look is one look at a server.
type look struct {
	server inventory.Server
	status replication.Status
	err    error
}

// run looks until ctx ends.
func (m *monitor) run(ctx context.Context) {
	ticker := time.NewTicker(m.cfg.MonitorInterval)
	defer ticker.Stop()
	for {
		if err := m.round(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("cannot look at the servers", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// round looks at all servers that can be looked at.
func (m *monitor) round(ctx context.Context) error {
	var all []inventory.Server
	err := m.st.Read(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		all, err = allServers(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	known := map[string]inventory.Server{}
	var due []look
	for _, srv := range all {
		known[srv.Name] = srv
		if srv.Address != "" && srv.AgentIdentity != "" && !jobsOwn(srv.State) {
			due = append(due, look{server: srv})
		}
	}
	m.forget(due, known)
	m.lookAt(ctx, due)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := m.touch(ctx, due, time.Now()); err != nil {
		return err
	}
	for _, l := range due {
		if err := m.record(ctx, l, known); err != nil {
			return err
		}
	}
	return nil
}

// jobsOwn reports whether a job looks after a server in that state, or nobody has to any more.
func jobsOwn(state inventory.ServerState) bool {
	return state == inventory.ServerProvisioning || state == inventory.ServerDeleting ||
		state == inventory.ServerDeleted
}

// forget drops what was seen of servers that are not looked at any more.
func (m *monitor) forget(due []look, known map[string]inventory.Server) {
	kept := map[string]*sight{}
	for _, l := range due {
		seen := m.sights[l.server.Name]
		if seen == nil {
			seen = &sight{answered: time.Now(), healthy: time.Now()}
		}
		kept[l.server.Name] = seen
	}
	for name := range m.sights {
		if srv, there := known[name]; !there || srv.State == inventory.ServerDeleted {
			m.forgetAgent(name)
		}
	}
	m.sights = kept
}

func (m *monitor) lookAt(ctx context.Context, due []look) {
	var group errgroup.Group
	group.SetLimit(looksAtOne)
	for i := range due {
		group.Go(func() error {
			bounded, cancel := context.WithTimeout(ctx, lookLimit)
			defer cancel()
			agent, err := m.agents.Agent(bounded, due[i].server.Name)
			if err == nil {
				due[i].status, err = agent.Status(bounded)
			}
			due[i].err = err
			return nil
		})
	}
	_ = group.Wait() // none of them answers with an error
}

// record writes down what a look found, if it changes what is known.
func (m *monitor) record(ctx context.Context, l look, known map[string]inventory.Server) error {
	seen, now := m.sights[l.server.Name], time.Now()
	if l.err == nil {
		seen.answered = now
	}
	health, why := judge(l, known)
	if health == replication.Healthy {
		seen.healthy = now
	}
	to, ok := m.decide(l.server.State, health, now.Sub(seen.answered), now.Sub(seen.healthy))
	if !ok || to == l.server.State && (to == inventory.ServerReady || why == l.server.StateReason) {
		return nil
	}
	if to != inventory.ServerUnreachable {
		busy, err := m.busy(ctx, l.server)
		if err != nil || busy {
			return err
		}
	}
	return m.move(ctx, l.server, to, why)
}

// judge tells how a server is by its role.
func judge(l look, known map[string]inventory.Server) (replication.Health, string) {
	if l.server.Role != inventory.RoleReplica {
		return replication.JudgePrimary(l.status, l.err, l.server.ServerID)
	}
	primary := known[l.server.Primary]
	return replication.JudgeReplica(l.status, l.err, replication.Want{
		ServerID: l.server.ServerID, PrimaryHost: primary.Address, PrimaryPort: primary.Port,
	})
}

// decide is the state that follows from a look; false leaves the state to whoever set it.
func (m *monitor) decide(state inventory.ServerState, health replication.Health, silent,
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
func (m *monitor) touch(ctx context.Context, due []look, at time.Time) error {
	answered := slices.DeleteFunc(slices.Clone(due), func(l look) bool { return l.err != nil })
	if len(answered) == 0 {
		return nil
	}
	return m.st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, l := range answered {
			if err := tx.Servers().Touch(ctx, l.server.Name, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// busy reports whether a job works on the server, which may stop what the server is for.
func (m *monitor) busy(ctx context.Context, srv inventory.Server) (bool, error) {
	for _, subject := range []string{srv.Subject(), "snapshotting/" + srv.Name} {
		jobs, _, err := m.jobs.List(ctx, job.Filter{
			Subject: subject, States: []job.State{job.Queued, job.Running, job.Waiting,
				job.Cancelling}, PageSize: 1,
		})
		if err != nil || len(jobs) > 0 {
			return len(jobs) > 0, err
		}
	}
	return false, nil
}

// move changes the server's state, unless somebody else did meanwhile.
func (m *monitor) move(ctx context.Context, was inventory.Server, to inventory.ServerState,
	why string) error {
	moved := false
	err := m.st.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
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
			return nil // the reason alone is nothing for the audit
		}
		return tx.Events().Add(ctx, inventory.Event{
			Actor: identity.ControlPlane().String(), Action: "server.state", Subject: srv.Subject(),
			Message: stateText(to, why),
		})
	})
	if err == nil && moved && to != was.State {
		m.log.Info("server changed", "server", was.Name, "from", string(was.State), "to",
			string(to), "why", why)
	}
	return err
}

func stateText(to inventory.ServerState, why string) string {
	if why == "" {
		return "is " + string(to)
	}
	return "is " + string(to) + ": " + why
}
