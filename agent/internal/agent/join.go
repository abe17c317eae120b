package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	enrolLimit = time.Minute
	unitLimit  = 90 * time.Second
	seenLimit  = 30 * time.Second
	seenPoll   = 500 * time.Millisecond
)

// ownUnit is the unit that the agent's package installs.
const ownUnit = "understudy-agent.service"

// JoinOptions say how to join.
type JoinOptions struct {
	// DryRun checks the host and changes nothing.
	DryRun bool
	// Checked is called with the findings once all checks have run; may be nil.
	Checked func([]Finding)
	// Say is called with each thing that was done; may be nil.
	Say func(string)
}

// Joined is what came of joining a host.
type Joined struct {
	// Server is who the host is.
	Server string `json:"server"`
	// Findings are the checks; empty for a host that had joined before.
	Findings []Finding `json:"findings,omitempty"`
	// Changes are what was done; empty when all was as it should be.
	Changes []string `json:"changes"`
	// Seen is how the control plane sees the agent; nil until it does.
	Seen *enroll.Observation `json:"seen,omitempty"`
}

// ErrMissing is why Join does nothing on a host that lacks something: the findings name it.
var ErrMissing = errors.New("the host lacks what the agent needs")

// Join makes this host a server of a fleet: it checks the host, gets its identity with the token of
// the file, or by attestation, enables and starts the agent's unit, and waits until the control
// plane has reached the agent. The file's CA may be left out when its pin is there. On a host that
// joined before it makes sure of the unit alone. Calling it again after an interruption goes on.
func Join(ctx context.Context, config Config, file identity.JoinFile,
	options JoinOptions) (Joined, error) {
	e, err := newExaminer(config)
	if err != nil {
		return Joined{}, err
	}
	defer e.close()
	j := &joining{examiner: e, file: file, options: options,
		out: Joined{Server: file.Server, Changes: []string{}}}
	err = j.run(ctx)
	return j.out, err
}

// joining is one call of Join.
type joining struct {
	*examiner
	file    identity.JoinFile
	options JoinOptions
	out     Joined
}

func (j *joining) run(ctx context.Context) error {
	name, until, err := j.enroller.Current()
	if name != "" && name != j.file.Server {
		return otherServer(name, j.file.Server, j.config.StateDir)
	}
	joined := name != "" && err == nil
	if joined {
		j.say("this host is %s already, until %s", identity.Agent(name), stampOf(until))
	} else if err := j.check(ctx); err != nil {
		return err
	}
	if j.options.DryRun {
		return nil
	}
	if !joined {
		if err := j.enrol(ctx); err != nil {
			return err
		}
	}
	if err := j.start(ctx, !joined); err != nil {
		return err
	}
	return j.awaitSeen(ctx)
}

func otherServer(is, wanted, stateDir string) error {
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_ALREADY_EXISTS,
		fmt.Sprintf("cannot join as %s: this host is %s's", wanted, is),
		errs.WithHint(fmt.Sprintf("join another host as %s, or delete server %s first, then end "+
			"this host's identity (systemctl stop understudy-agent; rm -r %s/identity)", wanted, is,
			stateDir), errs.Call("DeleteServer", "name", "servers/"+is)))
}

func (j *joining) say(format string, args ...any) {
	if j.options.Say != nil {
		j.options.Say(fmt.Sprintf(format, args...))
	}
}

func (j *joining) changed(format string, args ...any) {
	j.out.Changes = append(j.out.Changes, fmt.Sprintf(format, args...))
	j.say(format, args...)
}

// check runs all checks before it refuses.
func (j *joining) check(ctx context.Context) error {
	in := introduce(ctx, j.file.ControlPlane, j.file.CASPKISHA256)
	j.file.CAPEM = string(in.answer.CAPEM)
	findings := append(j.host(ctx), in.findings()...)
	if j.file.Attest == "" {
		findings = append(findings, in.checkToken(ctx, j.file))
	} else {
		findings = append(findings, j.checkAttested(ctx, j.file))
	}
	j.out.Findings = findings
	if j.options.Checked != nil {
		j.options.Checked(j.out.Findings)
	}
	if Missing(j.out.Findings) {
		return ErrMissing
	}
	return nil
}

func (j *joining) enrol(ctx context.Context) error {
	if err := makeDirs(j.config); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, enrolLimit)
	defer cancel()
	if err := j.enroller.Join(ctx, j.file); err != nil {
		return err
	}
	_, until, err := j.enroller.Current()
	if err != nil {
		return err
	}
	j.changed("enrolled as %s, until %s", identity.Agent(j.file.Server), stampOf(until))
	return nil
}

// start makes sure that the agent's unit is enabled and serves. One that has waited for an identity
// is restarted, so that it finds it now.
func (j *joining) start(ctx context.Context, enrolled bool) error {
	ctx, cancel := context.WithTimeout(ctx, unitLimit)
	defer cancel()
	unit, err := j.units.Get(ctx, ownUnit)
	if err != nil {
		return err
	}
	if enrolled && !unit.Stopped() && !unit.Masked() {
		if _, _, err := j.units.Restart(ctx, ownUnit, unit.InvocationID); err != nil {
			return err
		}
		j.changed("restarted %s", ownUnit)
	}
	_, changes, err := j.units.Ensure(ctx, ownUnit, nil)
	for _, change := range changes {
		j.changed("%s: %s", ownUnit, change)
	}
	return err
}

// awaitSeen waits until the control plane has reached the agent.
func (j *joining) awaitSeen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, seenLimit)
	defer cancel()
	tick := time.NewTicker(seenPoll)
	defer tick.Stop()
	for {
		observed, err := j.enroller.Seen(ctx)
		if err == nil {
			j.out.Seen = &observed
			j.report(observed)
			return nil
		}
		select {
		case <-ctx.Done():
			return errs.New(errs.Unavailable, errs.ReasonOf(err),
				"this host has joined, but the control plane does not reach its agent",
				errs.Wrap(err), errs.WithHint("let the control plane reach port "+agentPort+
					" of this host (nft list ruleset), then join again, which goes on from here"))
		case <-tick.C:
		}
	}
}

func (j *joining) report(observed enroll.Observation) {
	j.say("the control plane reaches the agent at %s", observed.Address)
	switch {
	case !observed.Recorded:
		j.say("the control plane has no server %s yet (CreateServer, CreateReplica)",
			j.file.Server)
	case observed.RecordedAddress != "":
		j.say("the control plane has server %s on record at %s", j.file.Server,
			observed.RecordedAddress)
	}
}
