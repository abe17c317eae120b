package machine

import (
	"context"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// PowerArgs are what a change of the power of a server's machine is asked for with.
type PowerArgs struct {
	Server string `json:"server"`
	// AllowPrimary says that it may take writes: nobody writes on it then for a while.
	AllowPrimary bool `json:"allow_primary,omitempty"`
	// Machine is the provider's id: the one of a later server of the name is left alone.
	Machine string `json:"machine"`
}

func (a PowerArgs) resolve(ctx context.Context, k *kit.Kit) (PowerArgs, error) {
	var wrong errs.Fields
	wrong.Require("name", a.Server != "", "a server is needed")
	if err := wrong.Err(); err != nil {
		return a, err
	}
	srv, err := k.Record(ctx, a.Server)
	a.Machine = srv.MachineID
	return a, err
}

// Subjects are the server, and its snapshots: what is held for one would not survive.
func (a PowerArgs) Subjects() []string {
	return []string{inventory.ServerSubject(a.Server), inventory.SnapshottingSubject(a.Server)}
}

// power is one call of a step that changes the power of a server's machine.
type power struct {
	*kit.Call
	name, machine string
	allow         bool
	verb
	srv inventory.Server
}

// verb is what a kind does to a machine: in words, as a method, and the state meanwhile.
type verb struct {
	does, method string
	meanwhile    inventory.ServerState
	off          bool // the machine may be off when the job ends early
}

// again asks for the same once more.
func (v verb) again(server string, allowPrimary bool) errs.Action {
	args := []string{"name", inventory.ServerSubject(server)}
	if allowPrimary {
		args = append(args, "allow_primary", "true")
	}
	return errs.Call(v.method, args...)
}

// mayGo refuses a server that was never proved to do what its role says: the job that makes it has
// to end first.
func (v verb) mayGo(srv inventory.Server, allowPrimary bool) error {
	switch {
	case srv.MachineID == "" || srv.AgentIdentity == "":
		return kit.Refuse(errorsv1.Reason_REASON_MACHINE_GONE,
			kit.Hint("see its state", kit.GetServer(srv.Name)),
			"%s has no machine with an agent on record", srv.Name)
	case srv.Role == inventory.RolePrimary && !allowPrimary:
		return v.refusePrimary(srv.Name, "a primary")
	}
	return nil
}

func (v verb) refusePrimary(server, what string) error {
	return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
		kit.Hint("say that it may be one", v.again(server, true)),
		"cannot %s %s: it is %s, and nobody could write meanwhile", v.does, server, what)
}

func notReady(srv inventory.Server) error {
	return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
		kit.Hint("see what has to be done first", kit.GetServer(srv.Name)),
		"%s is %s: it was not proved to do what its role says", srv.Name, srv.State)
}

// open reads what is on record of the machine.
func (v verb) open(ctx context.Context, c *kit.Call, a PowerArgs) (*power, error) {
	srv, err := c.Server(ctx, a.Server)
	if err != nil {
		return nil, err
	}
	if srv.MachineID != a.Machine {
		return nil, inventory.NotFound(errs.WithHint("ask again for the machine that it has now",
			v.again(a.Server, a.AllowPrimary)),
			"the machine of the job is not the one of %s any more", srv.Name)
	}
	return v.call(c, a, srv), v.mayGo(srv, a.AllowPrimary)
}

func (v verb) call(c *kit.Call, a PowerArgs, srv inventory.Server) *power {
	return &power{Call: c, verb: v, srv: srv, name: a.Server, machine: a.Machine,
		allow: a.AllowPrimary}
}

// boot is the boot id of the host.
func (p *power) boot(ctx context.Context) (string, error) {
	agent, err := p.Agent(ctx, p.name)
	if err != nil {
		return "", err
	}
	info, err := agent.Host(ctx)
	return info.BootID, err
}

// mayStop refuses by the world what the record cannot know: a replica that takes writes, writes
// that are held, rows that are nowhere else. MariaDB need not answer.
func (p *power) mayStop(ctx context.Context) error {
	if err := p.Unused(ctx, p.srv.Subject()); err != nil {
		return err
	}
	n, err := p.Node(ctx, p.name)
	if err != nil {
		return err
	}
	boot, err := p.boot(ctx)
	if err != nil {
		return err
	}
	st := n.Status
	switch {
	case st.Answers && !st.ReadOnly && !p.allow:
		return p.refusePrimary(p.name, "a replica that takes writes")
	case st.Held:
		return kit.Refuse(errorsv1.Reason_REASON_QUIESCE_BUSY,
			kit.Hint("wait until its snapshot is taken, then ask again",
				p.again(p.name, p.allow)),
			"writes on %s are held for a snapshot", p.name)
	}
	said := "MariaDB does not answer: " + st.DownReason
	if st.Answers {
		said = "MariaDB answers, at " + st.CurrentPos
	}
	p.Found("machine %s, boot %s; %s", p.srv.MachineID, boot, said)
	for _, r := range st.Replicas {
		p.Found("%s replicates from it, and goes on once it is back", r.Host)
	}
	if p.srv.Role == inventory.RoleReplica {
		return p.hasApplied(ctx, st)
	}
	return nil
}

const (
	// healTime is how long a refusal has to hold that heals by itself: the primary's agent was
	// just restarted, or the replica applies the rest.
	healTime = time.Minute

	keptRefused = "refused"
)

// mayStopNow is mayStop, after a wait for what heals by itself.
func (p *power) mayStopNow(ctx context.Context) error {
	err := p.mayStop(ctx)
	switch {
	case err == nil:
		return p.Drop(keptRefused)
	case errs.ReasonOf(err) != errorsv1.Reason_REASON_GTID_NOT_REACHED:
		return err
	}
	kept, seen := p.Kept(keptRefused)
	if !seen {
		kept = mark{p.Now()}
		p.Keep(keptRefused, mark{p.Now()})
	}
	if p.Now().Sub(kept.(mark).at) >= healTime {
		return err
	}
	return kit.Wait("%s; it may heal", err)
}

// hasApplied refuses a replica that has received what it has not applied, while its primary does
// not answer: MariaDB throws that away when it starts, and may have the only copy.
func (p *power) hasApplied(ctx context.Context, st replication.Status) error {
	conn, follows := replication.Find(st.Connections, kit.Account(p.name))
	if !follows {
		return nil
	}
	primary, err := p.Node(ctx, p.srv.Primary)
	if err == nil && primary.Status.Answers {
		return nil
	}
	applied, err := replication.Covers(st.SlavePos, conn.ReceivedPos)
	if err == nil && applied {
		return nil
	}
	return kit.Refuse(errorsv1.Reason_REASON_GTID_NOT_REACHED,
		kit.Hint("have it apply what it has received, or its primary answer, then ask again",
			kit.GetServer(p.name)),
		"%s has received transactions up to %s and applied them up to %s, and its primary %s does "+
			"not answer: a start of MariaDB throws away what is between",
		p.name, conn.ReceivedPos, st.SlavePos, p.srv.Primary)
}

// owned reports whether this job has the server in a state of its own.
func (p *power) owned(srv inventory.Server) bool {
	return srv.State == p.meanwhile && srv.Power.Of(p.JobID)
}

// begin has the record say, before anything is asked of the provider, which boot it was and that
// this job has the server.
func (p *power) begin(boot string) error {
	return kit.Waiting{Reason: "the boot of " + p.name + " is on record",
		Commit: func(ctx context.Context, rec kit.Records) error {
			srv, err := rec.Servers.Get(ctx, p.name)
			if err != nil {
				return err
			}
			found := srv.Findings
			if srv.State == inventory.ServerStopped ||
				srv.Power.Of(p.JobID) && found == nil {
				found = srv.Power.Findings
			}
			if srv.Power.Key != p.EffectKey {
				srv.Power = inventory.Power{Key: p.EffectKey, Boot: boot}
			}
			srv.Power.Findings = found
			before := srv.State
			if !p.Alone {
				err := srv.SetState(p.meanwhile, "job "+p.JobID+" is to "+p.does+" it")
				if err != nil {
					return err
				}
			}
			if err := rec.Servers.Update(ctx, &srv); err != nil || srv.State == before {
				return err
			}
			return p.Event(ctx, rec, "server.state", srv.Subject(), "is %s: %s", srv.State,
				srv.StateReason)
		}}
}

// back records that the server does again what its role says. What was found before and is not
// disproved stays, until the monitor has judged it.
func (p *power) back(ctx context.Context, rec kit.Records) error {
	srv, err := rec.Servers.Get(ctx, p.name)
	if err != nil || !p.owned(srv) && srv.State != inventory.ServerUnreachable {
		return err
	}
	var rest []inventory.Finding
	for _, f := range srv.Power.Findings {
		if f.Code != string(replication.AgentSilent) {
			rest = append(rest, f)
		}
	}
	to, why := inventory.ServerReady, ""
	if len(rest) > 0 {
		to, why = inventory.ServerDegraded, rest[0].Text
	}
	if err := srv.SetState(to, why); err != nil {
		return err
	}
	srv.Findings, srv.LastSeen = rest, p.Now()
	if err := rec.Servers.Update(ctx, &srv); err != nil {
		return err
	}
	return p.Event(ctx, rec, "server.state", srv.Subject(), "%s",
		strings.TrimSuffix("is "+string(to)+": "+why, ": "))
}

// giveUp leaves the server to the monitor when the job has ended before it proved anything.
func (p *power) giveUp(ctx context.Context, rec kit.Records) error {
	srv, err := rec.Servers.Get(ctx, p.name)
	if err != nil || !p.owned(srv) {
		return err
	}
	if err := srv.SetState(inventory.ServerUnreachable, "job "+p.JobID+
		" ended before it had proved the server READY again"); err != nil {
		return err
	}
	srv.Findings = srv.Power.Findings
	if err := rec.Servers.Update(ctx, &srv); err != nil {
		return err
	}
	return p.Event(ctx, rec, "server.state", srv.Subject(), "is %s: %s", srv.State,
		srv.StateReason)
}

// serving is the host with its own volume mounted, and MariaDB up on it with its own settings. What
// a boot did not start is started; what is mounted wrong is waited for.
func (p *power) serving(ctx context.Context) (*host.Host, replication.Status, error) {
	var st replication.Status
	h, err := host.Observe(ctx, p.Call, p.name)
	if err != nil {
		return nil, st, err
	}
	settled, err := h.Settled(ctx)
	if err != nil {
		return nil, st, err
	}
	if !settled {
		return nil, st, kit.Wait("what is mounted at %s and %s on %s is not its volume %s",
			kit.DataMount, kit.DatadirPath, p.name, h.At.ID)
	}
	unit, err := h.Agent.Unit(ctx, kit.MariaDBUnit)
	if err != nil {
		return nil, st, err
	}
	if unit.ActiveState != "active" && unit.ActiveState != "activating" {
		changes, err := h.Agent.EnsureUnit(ctx, kit.UnitRequest{Unit: kit.MariaDBUnit,
			Timeout: p.LeftFor(ctx), Token: p.FencingToken()}, p.Say)
		if err != nil {
			return nil, st, err
		}
		p.ChangedAll(kit.MariaDBUnit, changes)
	}
	st, err = h.EnsureServing(ctx)
	return h, st, err
}

// proved proves that the server does what its role says.
func (p *power) proved(ctx context.Context) error {
	h, st, err := p.serving(ctx)
	if err != nil {
		return err
	}
	if p.srv.Role != inventory.RoleReplica {
		return p.takesWrites(ctx, h, st)
	}
	pair, err := h.Pair(ctx)
	if err != nil {
		return err
	}
	target, err := pair.PassTarget(ctx)
	if err != nil {
		return err
	}
	p.Found("it has applied %s, a position that its primary %s reached after the start", target,
		p.srv.Primary)
	return nil
}

func (p *power) takesWrites(ctx context.Context, h *host.Host, st replication.Status) error {
	if st.ReadOnly {
		return kit.Refuse(errorsv1.Reason_REASON_WRONG_ROLE,
			kit.Hint("find what turned read_only on there, then ask again", kit.RetryThis()),
			"%s is a primary and takes no writes", p.name)
	}
	proof, err := h.Agent.ProveWritable(ctx, p.FencingToken())
	if err == nil {
		p.Found("it has committed %s", proof.GTID)
	}
	return err
}
