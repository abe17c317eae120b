package workflowtest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/trail"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Provider is the cloud as package app wants a provider.
type Provider struct{ cloudView }

// Provider is the process's way to the cloud.
func (p *Process) Provider() Provider { return Provider{cloudView{p.W.Cloud, p}} }

// Check finds nothing that is missing.
func (Provider) Check(context.Context) error { return nil }

// HostAddress is empty: machines reach the control plane where it serves.
func (Provider) HostAddress(context.Context) (string, error) { return "", nil }

// Problems are Cloud.Problems.
func (p Provider) Problems(context.Context) ([]string, error) {
	p.c.w.Mu.Lock()
	defer p.c.w.Mu.Unlock()
	return p.c.Problems, nil
}

// Agents are the hosts' agents as package app wants them.
type Agents struct{ agentsView }

// Agents is the process's way to the agents.
func (p *Process) Agents() Agents { return Agents{agentsView{p}} }

// Observe tells what the server's agent observes, once an interval, until it is out of reach.
func (a Agents) Observe(ctx context.Context, server, _ string, interval time.Duration,
	_ replication.Observed, take func(replication.Observed)) error {
	for {
		o := replication.Observed{Hash: "observed"}
		agent, err := a.Agent(ctx, server)
		if err != nil {
			return err
		}
		if o.Status, err = agent.Status(ctx); err != nil {
			return err
		}
		unit, err := agent.Unit(ctx, kit.MariaDBUnit)
		if err != nil {
			return err
		}
		if o.Marks, err = agent.Marks(ctx); err != nil {
			return err
		}
		o.Unit.Active, o.At = unit.ActiveState, time.Now()
		o.Clock = replication.Clock{Host: o.At, Here: o.At}
		take(o)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(interval):
		}
	}
}

// Forget does nothing: there are no connections.
func (Agents) Forget(string) {}

// Reach is where an agent would be.
func (a Agents) Reach(ctx context.Context, server, host string) (string, error) {
	_, err := a.Agent(ctx, server)
	return net.JoinHostPort(host, strconv.Itoa(7443)), err
}

// Deny does nothing: nobody calls simulated agents.
func (Agents) Deny(context.Context, string, ca.DenyList) error { return nil }

// Grant has all of the list in force, where the agent answers: nobody calls simulated agents.
func (a Agents) Grant(ctx context.Context, server string, list ca.GrantList) (ids []string,
	err error) {
	for _, g := range list.Grants {
		ids = append(ids, g.ID)
	}
	_, err = a.Agent(ctx, server)
	return ids, err
}

// FetchAudit fails: simulated agents keep no audit.
func (Agents) FetchAudit(context.Context, string, string, string, audit.Head) (trail.Batch,
	error) {
	return trail.Batch{}, errs.Unimplemented // as of agents that record no calls
}

// Announce fails: simulated agents call nobody.
func (Agents) Announce(context.Context, string, []string) error {
	return errors.New("not simulated")
}
