package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

var denying = loop.Spec{Name: "tell agents who was revoked", Every: time.Second,
	Limit: 10 * time.Second, LateAfter: time.Minute,
	Means: "agents let in operators who were revoked"}

const (
	// denyLimit bounds telling one agent.
	denyLimit = 10 * time.Second
	// denyAgain is the pause before an agent is told again that was not reached.
	denyAgain = 3 * time.Second
	// denyRepeat is how often an agent is told what it was told already: it may be another one, on
	// a machine that was installed again.
	denyRepeat = time.Minute
)

// DenierConfig is what a denier needs; all of it is required.
type DenierConfig struct {
	// Servers are the records as they are now.
	Servers func() []inventory.Server
	// List is the newest list.
	List func() ca.DenyList
	// Tell tells the agent of a server the list.
	Tell func(ctx context.Context, server string, list ca.DenyList) error
	Log  *slog.Logger
}

// Denier tells each agent which operators' certificates were revoked: an agent that is out of reach
// hears of it as soon as it is back.
type Denier struct {
	cfg    DenierConfig
	calls  sync.WaitGroup
	mu     sync.Mutex
	agents map[string]*told
}

// told is what an agent was told last.
type told struct {
	sequence int64
	address  string
	next     time.Time // of the next call, when nothing changes
	busy     bool
	old      bool // it knows no list
}

// NewDenier makes a denier.
func NewDenier(cfg DenierConfig) *Denier {
	return &Denier{cfg: cfg, agents: map[string]*told{}}
}

// Forget is for a server whose agent has begun again: it is told again.
func (d *Denier) Forget(server string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if agent, known := d.agents[server]; known {
		agent.address = ""
	}
}

// Run tells agents until ctx ends.
func (d *Denier) Run(ctx context.Context, loops *loop.Set) {
	defer d.calls.Wait()
	loops.Run(ctx, denying, func(context.Context) error { d.round(ctx); return nil })
}

// round begins to tell the agents that do not know the list yet, and waits for none: one that hangs
// makes no other wait. The calls go on after it, until running ends.
func (d *Denier) round(running context.Context) {
	list := d.cfg.List()
	if list.Sequence == 0 {
		return // nobody was ever revoked
	}
	all, now := d.cfg.Servers(), time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	there := make(map[string]*told, len(all))
	for _, srv := range all {
		agent := d.agents[srv.Name]
		if agent == nil {
			agent = &told{}
		}
		if srv.Address == "" || srv.AgentIdentity == "" || srv.State == inventory.ServerDeleted {
			continue
		}
		there[srv.Name] = agent
		if agent.due(list.Sequence, srv.Address, now) {
			agent.busy, agent.next, agent.address = true, now.Add(denyAgain), srv.Address
			d.calls.Go(func() { d.tell(running, srv.Name, agent, list) })
		}
	}
	d.agents = there
}

// due says whether it is to be called now. Who failed is called again after a pause.
func (t *told) due(sequence int64, address string, now time.Time) bool {
	return !t.busy && (!now.Before(t.next) || t.sequence > 0 && t.sequence < sequence ||
		t.address != address)
}

func (d *Denier) tell(ctx context.Context, server string, agent *told, list ca.DenyList) {
	bounded, cancel := context.WithTimeout(ctx, denyLimit)
	defer cancel()
	err := d.cfg.Tell(bounded, server, list)
	d.mu.Lock()
	defer d.mu.Unlock()
	agent.busy = false
	if errors.Is(err, errs.Unimplemented) {
		if !agent.old {
			d.cfg.Log.Warn("an agent lets in operators who were revoked until their certificates "+
				"expire: it is too old to be told; install this version", "server", server)
		}
		agent.old, agent.sequence = true, list.Sequence
		agent.next = time.Now().Add(denyRepeat)
		return
	}
	agent.old = false
	if err != nil {
		agent.sequence = 0
		d.cfg.Log.Debug("cannot tell an agent who was revoked yet", "server", server, "error", err)
		return
	}
	if agent.sequence < list.Sequence {
		d.cfg.Log.Info("told an agent who was revoked", "server", server, "list", list.Sequence,
			"certificates", len(list.Certificates))
		if list.Left > 0 {
			d.cfg.Log.Error("an agent lets in operators who were revoked: not all fit",
				"server", server, "certificates", list.Left)
		}
	}
	agent.sequence, agent.next = list.Sequence, time.Now().Add(denyRepeat)
}
