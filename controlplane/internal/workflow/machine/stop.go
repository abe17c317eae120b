package machine

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KindStopServer switches the machine of a server off.
const KindStopServer = "stop_server"

// StopArgs are what a stop is asked for with.
type StopArgs struct{ PowerArgs }

var stop = verb{does: "stop", method: "StopServer", meanwhile: inventory.ServerStopping, off: true}

// Kind is stop_server.
func (StopArgs) Kind() string { return KindStopServer }

// Resolve finds the machine.
func (a StopArgs) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	var err error
	a.PowerArgs, err = a.resolve(ctx, k)
	return a, err
}

// Check refuses a primary unless it may be one, what was never READY, and what a job uses.
func (a StopArgs) Check(ctx context.Context, k *kit.Kit) error {
	srv, err := k.Record(ctx, a.Server)
	if err != nil {
		return err
	}
	if !srv.InService() && srv.State != inventory.ServerStopped {
		return notReady(srv)
	}
	if err := stop.mayGo(srv, a.AllowPrimary); err != nil {
		return err
	}
	return k.Unused(ctx, srv.Subject())
}

// Title is what the job is for.
func (a StopArgs) Title() string { return "stop " + a.Server }

// StopServer is the kind. MariaDB is stopped first, for as long as it needs: a provider cuts the
// power after a few minutes. A job that ends before the machine was asked to stop starts it again.
func StopServer() kit.Kind {
	return kit.Kind{Name: KindStopServer, Title: "stop a server",
		Decode: kit.Decode[StopArgs],
		Steps: []kit.Step{
			{Name: "check", Title: "the server may be stopped",
				Run: stop.on((*power).checkStop), DryRun: kit.DryTyped(dryStop),
				Timeout: 2 * time.Minute},
			{Name: "stop_mariadb", Title: "MariaDB has ended by itself",
				Run: stop.on((*power).stopMariaDB), DryRun: kit.Would("stop MariaDB"),
				Attempt: 30 * time.Minute, Timeout: 2 * time.Hour},
			{Name: "stop_machine", Title: "the machine is off",
				Run: stop.on((*power).stopMachine),
				DryRun: kit.WouldFor(func(_ *kit.Preview, a StopArgs) []string {
					return []string{"switch machine " + a.Machine + " off; its volumes stay"}
				}), Timeout: time.Hour, OperatorTimeout: kit.OperatorTime},
			{Name: "finish", Title: "the record says so", Run: stop.on((*power).finishStop)},
			settleStep(stop),
		}}
}

// isOff reports whether the provider says that the machine is stopped.
func (p *power) isOff(ctx context.Context) (provider.Machine, bool, error) {
	m, err := p.Provider.GetMachine(ctx, p.machine)
	if err == nil && m.State == provider.MachineTerminated {
		err = p.MachineGone(ctx, m, p.srv)
	}
	return m, m.State == provider.MachineStopped, err
}

func (p *power) checkStop(ctx context.Context) (kit.Outcome, error) {
	m, off, err := p.isOff(ctx)
	switch {
	case err != nil:
		return kit.Outcome{}, err
	case off:
		return kit.NotNeeded("machine %s is off", m.ID)
	case p.srv.Power.Of(p.JobID):
		return kit.NotNeeded("the stop has begun")
	}
	return kit.DoneUnless(p.mayStopNow(ctx))
}

func dryStop(ctx context.Context, c *kit.Call, _ *kit.Preview, a StopArgs) ([]string, error) {
	p, err := stop.open(ctx, c, a.PowerArgs)
	if err != nil {
		return nil, err
	}
	if m, off, err := p.isOff(ctx); err != nil || off {
		p.Found("machine %s is off", m.ID)
		return nil, err
	}
	return nil, p.mayStop(ctx)
}

// stopMariaDB has MariaDB end by itself, once the record says that the server is being stopped.
func (p *power) stopMariaDB(ctx context.Context) (kit.Outcome, error) {
	m, off, err := p.isOff(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if off || m.State == provider.MachineStopping {
		return kit.NotNeeded("machine %s is %s", m.ID, m.State)
	}
	boot, err := p.boot(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !p.owned(p.srv) {
		if p.Alone {
			return kit.NotNeeded("the server is %s", p.srv.State)
		}
		if err := p.mayStopNow(ctx); err != nil {
			return kit.Outcome{}, err
		}
		return kit.Outcome{}, p.begin(boot)
	}
	agent, err := p.Agent(ctx, p.name)
	if err != nil {
		return kit.Outcome{}, err
	}
	changed, err := agent.StopUnit(ctx, kit.UnitRequest{Unit: kit.MariaDBUnit,
		Timeout: p.LeftFor(ctx), Token: p.FencingToken()})
	if err != nil {
		return kit.Outcome{}, fmt.Errorf("cannot stop MariaDB on %s: %w", p.name, err)
	}
	if changed {
		p.Changed("stopped %s", kit.MariaDBUnit)
	}
	return kit.Done(nil)
}

// stopMachine has the provider switch the machine off, and waits until it is.
func (p *power) stopMachine(ctx context.Context) (kit.Outcome, error) {
	m, off, err := p.isOff(ctx)
	switch {
	case err != nil:
		return kit.Outcome{}, err
	case off:
		p.Found("machine %s is off", m.ID)
		return kit.Done(nil)
	case m.State != provider.MachineRunning:
		return p.Again("machine %s is %s%s", m.ID, m.State, kit.Because(m.Reason))
	case !p.owned(p.srv):
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_JOB_WRONG_STATE,
			kit.Hint("ask again", p.again(p.name, p.allow)),
			"%s is %s: the job has not got it any more", p.name, p.srv.State)
	}
	if err := p.Prove(ctx); err != nil {
		return kit.Outcome{}, err
	}
	if err := p.Provider.StopMachine(ctx, m.ID); err != nil {
		return kit.Outcome{}, fmt.Errorf("cannot stop machine %s of %s: %w", m.ID, p.name, err)
	}
	p.Changed("switched machine %s off", m.ID)
	return p.Again("machine %s goes off", m.ID)
}

// finishStop believes the provider only while the agent does not answer.
func (p *power) finishStop(ctx context.Context) (kit.Outcome, error) {
	m, off, err := p.isOff(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !off {
		return p.Again("machine %s is %s", m.ID, m.State)
	}
	if _, err := p.boot(ctx); err == nil {
		return p.Again("machine %s is off for its provider, and the agent of %s answers", m.ID,
			p.name)
	}
	return kit.Done(p.recordStopped)
}

// recordStopped records that the machine is off, and that it was meant to be.
func (p *power) recordStopped(ctx context.Context, rec kit.Records) error {
	srv, err := rec.Servers.Get(ctx, p.name)
	if err != nil || srv.State == inventory.ServerStopped {
		return err
	}
	found := srv.Findings
	if srv.State == p.meanwhile {
		found = srv.Power.Findings
	}
	if err := srv.SetState(inventory.ServerStopped, "job "+p.JobID+" stopped it: understudy "+
		"server start "+p.name+" starts it"); err != nil {
		return err
	}
	srv.Power.Findings = found
	if err := rec.Servers.Update(ctx, &srv); err != nil {
		return err
	}
	return p.Event(ctx, rec, "server.state", srv.Subject(), "is %s: %s", srv.State,
		srv.StateReason)
}

// settleOff ends a stop or a start halfway: what is off stays off, and is recorded so; what runs
// serves again.
func (p *power) settleOff(ctx context.Context) (kit.Outcome, error) {
	m, off, err := p.isOff(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	_, manual := p.OperatorCopyTime()
	switch {
	case off:
		return kit.Done(p.recordStopped)
	case m.State == provider.MachineStopping && !manual:
		return p.Again("machine %s goes off", m.ID)
	}
	if agent, err := p.Agent(ctx, p.name); err == nil {
		changes, err := agent.EnsureUnit(ctx, kit.UnitRequest{Unit: kit.MariaDBUnit,
			Timeout: p.LeftFor(ctx), Token: p.FencingToken()}, p.Say)
		if err != nil {
			return kit.Outcome{}, err
		}
		p.ChangedAll(kit.MariaDBUnit, changes)
	}
	return kit.Done(p.giveUp)
}
