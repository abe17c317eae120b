package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// undoLimit is how long a change that failed half way may take to be undone, whoever asked for it
// and went away.
const undoLimit = 15 * time.Second

// Purging reads servers, and changes binlog auto purge on a server's MariaDB together with its
// record. The record says "off" only while MariaDB keeps its binary logs: turned off MariaDB comes
// first, turned on it comes last.
type Purging struct {
	query.Servers
	agents kit.Agents
	turns  turns // by server: changes that are asked for at one time come one after the other
}

// NewPurging makes it.
func NewPurging(servers query.Servers, agents kit.Agents) *Purging {
	return &Purging{Servers: servers, agents: agents}
}

// SetBinlogAutoPurge turns binlog auto purge on or off by the records' rules, in MariaDB and on
// record, or changes nothing and says why.
func (p *Purging) SetBinlogAutoPurge(ctx context.Context,
	change AutoPurge) (query.Server, error) {
	check := change
	check.CheckOnly = true
	if r, err := p.setRecord(ctx, check); err != nil || change.CheckOnly {
		return r, err
	}
	leave, err := p.turns.enter(ctx, change.Server)
	if err != nil {
		return query.Server{}, unchanged(change, err)
	}
	defer leave()
	agent, err := p.answering(ctx, change.Server)
	if err != nil {
		return query.Server{}, unchanged(change, err)
	}
	if change.On {
		return p.turnOn(ctx, agent, change)
	}
	return p.turnOff(ctx, agent, change)
}

// answering is the agent of a MariaDB that answers.
func (p *Purging) answering(ctx context.Context, server string) (kit.Agent, error) {
	agent, err := p.agents.Agent(ctx, server)
	if err != nil {
		return nil, err
	}
	status, err := agent.Status(ctx)
	if err == nil && !status.Answers {
		err = errs.New(errs.Unavailable, errorsv1.Reason_REASON_MARIADB_DOWN,
			fmt.Sprintf("MariaDB on %s does not answer: %s", server, status.DownReason),
			errs.WithHint("start mariadb.service on "+server))
	}
	return agent, err
}

// unchanged tells what stays as it was, and why.
func unchanged(change AutoPurge, err error) error {
	stays := "on"
	if change.On {
		stays = "off"
	}
	return fmt.Errorf("binlog auto purge of %s stays %s: %w", change.Server, stays, err)
}

// turnOff goes on from a MariaDB that keeps its binary logs, if the record cannot be written, to
// one that the record describes.
func (p *Purging) turnOff(ctx context.Context, agent kit.Agent,
	change AutoPurge) (query.Server, error) {
	if _, err := agent.SetBinlogExpiry(ctx, host.BinlogExpiry(false),
		kit.FencingToken{}); err != nil {
		p.follow(ctx, agent, change.Server) // the answer alone may be lost
		return query.Server{}, unchanged(change, err)
	}
	r, err := p.setRecord(ctx, change)
	if err != nil {
		p.follow(ctx, agent, change.Server)
	}
	return r, err
}

func (p *Purging) turnOn(ctx context.Context, agent kit.Agent,
	change AutoPurge) (query.Server, error) {
	was, err := p.Get(ctx, change.Server)
	if err != nil {
		return was, err
	}
	r, err := p.setRecord(ctx, change)
	if err != nil {
		return r, err
	}
	if _, err := agent.SetBinlogExpiry(ctx, host.BinlogExpiry(true),
		kit.FencingToken{}); err != nil {
		if was.BinlogAutoPurge {
			return r, unconfirmed(change, err)
		}
		return r, p.giveUp(ctx, agent, change, err)
	}
	// A replica that was planned meanwhile has turned it off: MariaDB must not be the later one.
	now := p.follow(ctx, agent, change.Server)
	if now != nil && !now.BinlogAutoPurge {
		return *now, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT,
			"binlog auto purge of "+change.Server+" was turned off again meanwhile",
			errs.WithHint("see what its record says now"))
	}
	return r, nil
}

// giveUp takes the record's change back, once MariaDB is known to keep its binary logs: a call that
// failed may have had its effect.
func (p *Purging) giveUp(ctx context.Context, agent kit.Agent, change AutoPurge,
	cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	_, err := agent.SetBinlogExpiry(ctx, host.BinlogExpiry(false), kit.FencingToken{})
	if err == nil {
		change.On, change.Etag = false, ""
		_, err = p.setRecord(ctx, change)
	}
	if err != nil {
		return unconfirmed(change, cause)
	}
	change.On = true
	return unchanged(change, cause)
}

// unconfirmed tells of a record that says "on" and a MariaDB that may keep its binary logs all the
// same, which harms nothing.
func unconfirmed(change AutoPurge, err error) error {
	return fmt.Errorf("binlog auto purge of %s is on by its record, and its MariaDB did not "+
		"confirm it, so ask again: %w", change.Server, err)
}

// follow makes MariaDB what the record says, as far as both are there, and returns the record.
func (p *Purging) follow(ctx context.Context, agent kit.Agent,
	server string) *query.Server {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	r, err := p.Get(ctx, server)
	if err != nil {
		return nil
	}
	_, _ = agent.SetBinlogExpiry(ctx, host.BinlogExpiry(r.BinlogAutoPurge), kit.FencingToken{})
	return &r
}
