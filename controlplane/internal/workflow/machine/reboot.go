package machine

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KindRebootServer restarts the machine of a server.
const KindRebootServer = "reboot_server"

// RebootArgs are what a reboot is asked for with.
type RebootArgs struct{ PowerArgs }

var reboot = verb{does: "reboot", method: "RebootServer", meanwhile: inventory.ServerProvisioning}

// Kind is reboot_server.
func (RebootArgs) Kind() string { return KindRebootServer }

// Resolve finds the machine.
func (a RebootArgs) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	var err error
	a.PowerArgs, err = a.resolve(ctx, k)
	return a, err
}

// Check refuses a primary unless it may be one, what was never READY, and what a job uses.
func (a RebootArgs) Check(ctx context.Context, k *kit.Kit) error {
	srv, err := k.Record(ctx, a.Server)
	if err != nil {
		return err
	}
	if !srv.InService() {
		return notReady(srv)
	}
	if err := reboot.mayGo(srv, a.AllowPrimary); err != nil {
		return err
	}
	return k.Unused(ctx, srv.Subject())
}

// Title is what the job is for.
func (a RebootArgs) Title() string { return "reboot " + a.Server }

// RebootServer is the kind. The boot id tells whether the machine has restarted: it is on record
// before the provider is asked, so that a step that is run again asks once. A job that ends early
// takes nothing back, and leaves the server to the monitor.
func RebootServer() kit.Kind {
	return kit.Kind{Name: KindRebootServer, Title: "reboot a server",
		Decode: kit.Decode[RebootArgs],
		Steps: []kit.Step{
			{Name: "check", Title: "the server may be restarted", Run: kit.Typed(checkReboot),
				DryRun: kit.DryTyped(dryReboot), Timeout: 2 * time.Minute},
			{Name: "reboot", Title: "the machine has restarted, and its agent answers",
				Run: kit.Typed(rebootMachine),
				DryRun: kit.WouldFor(func(_ *kit.Preview, a RebootArgs) []string {
					return []string{"restart machine " + a.Machine}
				}), Timeout: time.Hour, OperatorTimeout: kit.OperatorTime},
			serveStep(reboot), proveStep(reboot), finishStep(reboot), settleStep(reboot),
		}}
}

// forPower are the arguments of a kind that changes the power of a machine.
type forPower interface{ forPower() PowerArgs }

func (a PowerArgs) forPower() PowerArgs { return a }

// on makes a handler of one that works on the machine.
func (v verb) on(run func(*power, context.Context) (kit.Outcome, error)) kit.Handler {
	return kit.Typed(func(ctx context.Context, c *kit.Call, a forPower) (kit.Outcome, error) {
		p, err := v.open(ctx, c, a.forPower())
		if err != nil {
			return kit.Outcome{}, err
		}
		return run(p, ctx)
	})
}

func serveStep(v verb) kit.Step {
	return kit.Step{Name: "serve", Title: "its own volume is mounted, and MariaDB serves on it",
		Run: v.on(func(p *power, ctx context.Context) (kit.Outcome, error) {
			h, st, err := p.serving(ctx)
			if err != nil {
				return kit.Outcome{}, err
			}
			p.Found("volume %s is mounted at %s, MariaDB %s answers", h.At.ID, kit.DataMount,
				st.ServerVersion)
			return kit.Done(nil)
		}), Attempt: 30 * time.Minute, Timeout: 2 * time.Hour}
}

func proveStep(v verb) kit.Step {
	const day = 24 * time.Hour
	return kit.Step{Name: "prove", Title: "it takes writes, or has caught up with its primary",
		Run: v.on(func(p *power, ctx context.Context) (kit.Outcome, error) {
			return kit.DoneUnless(p.proved(ctx))
		}), DryRun: kit.Would("prove that it takes writes, or has caught up with its primary"),
		Attempt: day, Timeout: 2 * day}
}

// finishStep observes once more: it relies on no step before it.
func finishStep(v verb) kit.Step {
	return kit.Step{Name: "finish", Title: "the record says so",
		Run: v.on(func(p *power, ctx context.Context) (kit.Outcome, error) {
			if err := p.proved(ctx); err != nil {
				return kit.Outcome{}, err
			}
			return kit.Done(p.back)
		}), Attempt: 10 * time.Minute, Timeout: time.Hour}
}

func settleStep(v verb) kit.Step {
	return kit.Step{Name: "settle", Title: "the job has left the server", Always: true,
		Run: kit.Typed(func(ctx context.Context, c *kit.Call, a forPower) (kit.Outcome, error) {
			srv, err := c.Record(ctx, a.forPower().Server)
			p := v.call(c, a.forPower(), srv)
			if kit.Missing(err) || err == nil && !p.owned(srv) {
				return kit.NotNeeded("the job has not got it any more")
			}
			if err != nil {
				return kit.Outcome{}, err
			}
			if v.off {
				return p.settleOff(ctx)
			}
			return kit.Done(p.giveUp)
		}), Timeout: time.Hour}
}

func checkReboot(ctx context.Context, c *kit.Call, a RebootArgs) (kit.Outcome, error) {
	p, err := reboot.open(ctx, c, a.PowerArgs)
	if err != nil {
		return kit.Outcome{}, err
	}
	if p.srv.Power.Of(c.JobID) { // it was looked at before what this job did then
		return kit.NotNeeded("the restart has begun")
	}
	return kit.DoneUnless(p.mayStopNow(ctx))
}

func dryReboot(ctx context.Context, c *kit.Call, _ *kit.Preview, a RebootArgs) ([]string, error) {
	p, err := reboot.open(ctx, c, a.PowerArgs)
	if err != nil {
		return nil, err
	}
	return nil, p.mayStop(ctx)
}

const (
	// rebootTime is how long a machine may take to go down once the provider has taken the request:
	// EC2 cuts the power after four minutes.
	rebootTime = 10 * time.Minute
	// unsureTime is the same for a request that may not have been made.
	unsureTime = time.Minute

	keptBegun = "begun"
	keptSeen  = "seen"
)

// mark is a value that this process keeps until it loses the job.
type mark struct{ at time.Time }

// Close has nothing to close.
func (mark) Close() error { return nil }

// rebootMachine has the provider restart the machine, and waits for another boot.
func rebootMachine(ctx context.Context, c *kit.Call, a RebootArgs) (kit.Outcome, error) {
	p, err := reboot.open(ctx, c, a.PowerArgs)
	if err != nil {
		return kit.Outcome{}, err
	}
	boot, err := p.boot(ctx)
	if err != nil {
		return kit.Outcome{}, err // it is down, as it has to be for a while
	}
	asked := p.srv.Power
	switch {
	case asked.Key == c.EffectKey && asked.Boot != boot:
		c.Changed("restarted machine %s: its boot was %s, and is %s", a.Machine, asked.Boot, boot)
		return kit.Done(nil)
	case asked.Key != c.EffectKey:
		if err := p.mayStopNow(ctx); err != nil {
			return kit.Outcome{}, err
		}
		c.Keep(keptBegun, mark{}) // nobody has asked yet
		return kit.Outcome{}, p.begin(boot)
	case !p.owned(p.srv) && !c.Alone:
		return kit.Outcome{}, p.begin(boot)
	}
	return p.askReboot(ctx)
}

// askReboot asks the provider, unless it was asked: by this worker or, as far as that can be told,
// by one before it.
func (p *power) askReboot(ctx context.Context) (kit.Outcome, error) {
	m, err := p.Provider.GetMachine(ctx, p.machine)
	if err != nil {
		return kit.Outcome{}, err
	}
	if m.State == provider.MachineStopped || m.State == provider.MachineTerminated {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_MACHINE_GONE,
			kit.Hint("switch it on at the provider, then retry", kit.RetryThis()),
			"machine %s of %s is %s", m.ID, p.name, m.State)
	}
	if _, manual := p.OperatorCopyTime(); manual && m.Reason != "" { // the task
		p.Keep(keptSeen, mark{p.Now()})
		return p.Again("%s", m.Reason)
	}
	_, begun := p.Kept(keptBegun)
	if left := p.askAgainIn(); !begun && left > 0 {
		return p.Again("the machine of %s is asked to restart, and has not gone down yet", p.name)
	}
	if err := p.Prove(ctx); err != nil {
		return kit.Outcome{}, err
	}
	if err := p.Drop(keptBegun); err != nil {
		return kit.Outcome{}, err
	}
	p.Keep(keptSeen, mark{p.Now()})
	if err := p.Provider.RebootMachine(ctx, p.machine); err != nil {
		return kit.Outcome{}, err
	}
	out, err := p.Again("machine %s restarts", p.machine)
	return out.With(func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, p.name)
		if err != nil || srv.Power.Key != p.EffectKey {
			return err
		}
		srv.Power.Asked = p.Now()
		return rec.Servers.Update(ctx, &srv)
	}), err
}

// askAgainIn is how long the host has to answer from its former boot until the provider is asked
// again.
func (p *power) askAgainIn() time.Duration {
	limit := unsureTime
	if !p.srv.Power.Asked.IsZero() {
		limit = rebootTime
	}
	kept, seen := p.Kept(keptSeen)
	if !seen { // another worker had the job
		p.Keep(keptSeen, mark{p.Now()})
		return limit
	}
	return limit - p.Now().Sub(kept.(mark).at)
}
