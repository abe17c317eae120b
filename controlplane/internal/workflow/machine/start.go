package machine

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// KindStartServer switches the machine of a server on.
const KindStartServer = "start_server"

// StartArgs are what a start is asked for with.
type StartArgs struct{ PowerArgs }

var start = verb{does: "start", method: "StartServer", meanwhile: inventory.ServerProvisioning,
	off: true}

// Kind is start_server.
func (StartArgs) Kind() string { return KindStartServer }

// Resolve finds the machine. A primary takes writes again: nobody has to say that it may.
func (a StartArgs) Resolve(ctx context.Context, k *kit.Kit, _ string) (kit.Args, error) {
	var err error
	a.PowerArgs, err = a.resolve(ctx, k)
	a.AllowPrimary = true
	return a, err
}

// Check refuses what was never READY, and a replica whose primary is stopped.
func (a StartArgs) Check(ctx context.Context, k *kit.Kit) error {
	srv, err := k.Record(ctx, a.Server)
	if err != nil {
		return err
	}
	if !srv.InService() && srv.State != inventory.ServerStopped {
		return notReady(srv)
	}
	if srv.Role == inventory.RoleReplica {
		primary, err := k.Record(ctx, srv.Primary)
		if err == nil && primary.State == inventory.ServerStopped {
			return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
				kit.Hint("start its primary first", errs.Call("StartServer", "name",
					primary.Subject())),
				"%s follows %s, which is stopped: nothing could prove that it has caught up",
				srv.Name, primary.Name)
		}
	}
	return start.mayGo(srv, true)
}

// Title is what the job is for.
func (a StartArgs) Title() string { return "start " + a.Server }

// StartServer is the kind. A server whose machine runs is proved, and not changed.
func StartServer() kit.Kind {
	return kit.Kind{Name: KindStartServer, Title: "start a server",
		Decode: kit.Decode[StartArgs],
		Steps: []kit.Step{
			{Name: "start_machine", Title: "the machine is on, and its agent answers",
				Run: start.on((*power).startMachine), DryRun: kit.DryTyped(dryStart),
				Timeout: time.Hour, OperatorTimeout: kit.OperatorTime},
			serveStep(start), proveStep(start), finishStep(start), settleStep(start),
		}}
}

// startMachine has the provider switch the machine on, once the record says that the server is
// being proved.
func (p *power) startMachine(ctx context.Context) (kit.Outcome, error) {
	m, off, err := p.isOff(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !p.owned(p.srv) && !p.Alone && (off || p.srv.State == inventory.ServerStopped) {
		return kit.Outcome{}, p.begin("")
	}
	switch {
	case off:
		if err := p.Prove(ctx); err != nil {
			return kit.Outcome{}, err
		}
		if err := p.Provider.StartMachine(ctx, m.ID); err != nil {
			return kit.Outcome{}, fmt.Errorf("cannot start machine %s of %s: %w", m.ID, p.name, err)
		}
		p.Changed("switched machine %s on", m.ID)
		return p.Again("machine %s comes up", m.ID)
	case m.State != provider.MachineRunning:
		return p.Again("machine %s is %s%s", m.ID, m.State, kit.Because(m.Reason))
	}
	boot, err := p.boot(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	p.Found("machine %s runs, boot %s", m.ID, boot)
	return kit.Done(nil)
}

func dryStart(ctx context.Context, c *kit.Call, _ *kit.Preview, a StartArgs) ([]string, error) {
	p, err := start.open(ctx, c, a.PowerArgs)
	if err != nil {
		return nil, err
	}
	m, off, err := p.isOff(ctx)
	if err != nil {
		return nil, err
	}
	if !off {
		return nil, kit.Skip("machine %s is %s", m.ID, m.State)
	}
	return []string{"switch machine " + m.ID + " on"}, nil
}
