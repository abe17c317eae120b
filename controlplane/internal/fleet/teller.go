package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// tellLimit bounds telling one agent.
	tellLimit = 10 * time.Second
	// tellAgain is the pause before an agent is told again that was not reached.
	tellAgain = 3 * time.Second
	// tellRepeat is how often an agent is told what it was told already: it may be another one, on
	// a machine that was installed again.
	tellRepeat = time.Minute
	// tellRarely is that for an agent whose successor needs to be told nothing.
	tellRarely = 24 * time.Hour
)

// Notice is what an agent is to know.
type Notice struct {
	// Version is of what it says: an agent that was told another one is told this one at once.
	Version string
	// Repeat has it told again and again: what is told matters to an agent that forgot it.
	Repeat bool
	// Tell tells the agent.
	Tell func(ctx context.Context) error
	// Log is what is logged of it once it was told; nothing when empty.
	Log []any
	// Lacks is an error to be logged: of what does not fit.
	Lacks string
}

// tellerConfig is what a teller needs; all of it is required.
type tellerConfig struct {
	spec loop.Spec
	// servers are the records as they are now.
	servers func() []inventory.Server
	// news are the notices of now, by server; nil while there is nothing to tell anybody.
	news func() (func(server string) Notice, error)
	// what agents are told, for the log, and what it means that one is too old to be told.
	what, tooOld string
	log          *slog.Logger
}

// Teller tells each agent what it is to know: one that is out of reach hears of it as soon as it is
// back.
type Teller struct {
	cfg    tellerConfig
	calls  sync.WaitGroup
	mu     sync.Mutex
	agents map[string]*told
}

// told is what an agent was told last.
type told struct {
	known   bool // it was told that version
	version string
	address string
	next    time.Time // of the next call, when nothing changes
	busy    bool
	old     bool // it cannot be told
	passed  bool // it was told something newer, by somebody else
}

func newTeller(cfg tellerConfig) *Teller { return &Teller{cfg: cfg, agents: map[string]*told{}} }

// Forget is for a server whose agent may have begun again: it is told again.
func (t *Teller) Forget(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if agent, known := t.agents[server]; known {
		agent.address = ""
	}
}

// Run tells agents until ctx ends.
func (t *Teller) Run(ctx context.Context, loops *loop.Set) {
	defer t.calls.Wait()
	loops.Run(ctx, t.cfg.spec, func(context.Context) error { return t.round(ctx) })
}

// round begins to tell the agents that do not know it yet, and waits for none: one that hangs makes
// no other wait. The calls go on after it, until running ends.
func (t *Teller) round(running context.Context) error {
	news, err := t.cfg.news()
	if err != nil || news == nil {
		return err
	}
	all, now := t.cfg.servers(), time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	there := make(map[string]*told, len(all))
	for _, srv := range all {
		agent := t.agents[srv.Name]
		if agent == nil {
			agent = &told{}
		}
		if srv.Address == "" || srv.AgentIdentity == "" || srv.State == inventory.ServerDeleted {
			continue
		}
		there[srv.Name] = agent
		notice := news(srv.Name)
		if agent.due(notice.Version, srv.Address, now) {
			agent.busy, agent.next, agent.address = true, now.Add(tellAgain), srv.Address
			t.calls.Go(func() { t.tell(running, srv.Name, agent, notice) })
		}
	}
	t.agents = there
	return nil
}

// due says whether it is to be called now. Who failed is called again after a pause.
func (t *told) due(version, address string, now time.Time) bool {
	return !t.busy && (!now.Before(t.next) || t.known && t.version != version ||
		t.address != address)
}

func (t *Teller) tell(ctx context.Context, server string, agent *told, notice Notice) {
	bounded, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	err := notice.Tell(bounded)
	t.mu.Lock()
	defer t.mu.Unlock()
	agent.busy = false
	if errors.Is(err, errs.Unimplemented) {
		if !agent.old {
			t.cfg.log.Warn(t.cfg.tooOld+": it is too old to be told; install this version",
				"server", server)
		}
		agent.old, agent.known, agent.version = true, true, notice.Version
		agent.next = time.Now().Add(tellRepeat)
		return
	}
	agent.old = false
	passed := errs.ReasonOf(err) == errorsv1.Reason_REASON_SUPERSEDED
	if passed && !agent.passed {
		t.cfg.log.Error("another control plane tells an agent "+t.cfg.what+
			": stop the one whose records are not to be used", "server", server, "error", err)
	}
	agent.passed = passed
	if err != nil {
		agent.known = false
		t.cfg.log.Debug("cannot tell an agent yet "+t.cfg.what, "server", server, "error", err)
		return
	}
	if (!agent.known || agent.version != notice.Version) && len(notice.Log) > 0 {
		t.cfg.log.Info("told an agent "+t.cfg.what, append(notice.Log, "server", server)...)
		if notice.Lacks != "" {
			t.cfg.log.Error(notice.Lacks, "server", server)
		}
	}
	agent.known, agent.version = true, notice.Version
	agent.next = time.Now().Add(tellRarely)
	if notice.Repeat {
		agent.next = time.Now().Add(tellRepeat)
	}
}
