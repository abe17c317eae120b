package workflow

import (
	"context"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// createMachine makes sure that the server's machine exists and is switched on. One that an earlier
// attempt made is found by its tag.
func (s *step) createMachine(ctx context.Context) (outcome, error) {
	srv, err := s.server(ctx, s.args.Server)
	if err != nil {
		return outcome{}, err
	}
	if err := s.keepIfReplica(ctx, srv); err != nil {
		return outcome{}, err
	}
	m, err := s.ensureMachine(ctx, srv)
	if err != nil {
		return outcome{}, err
	}
	switch m.State {
	case provider.MachineRunning:
		s.Found("machine %s runs at %s", m.ID, m.Address)
		return done(s.updateServer(srv.Name, func(srv *inventory.Server) error {
			srv.MachineID, srv.Address, srv.Zone, srv.Image = m.ID, m.Address, or(m.Zone, srv.Zone),
				m.Image
			return nil
		}, "machine %s runs at %s", m.ID, m.Address))
	case provider.MachineStopped:
		if err := s.w.Cloud.StartMachine(ctx, m.ID); err != nil {
			return outcome{}, err
		}
		s.Changed("switched machine %s on", m.ID)
	}
	return s.again("machine %s is %s%s", m.ID, m.State, because(m.Reason))
}

// because is a provider's reason for a state, if it gives one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func (s *step) keepIfReplica(ctx context.Context, srv inventory.Server) error {
	if srv.Role != inventory.RoleReplica {
		return nil
	}
	return s.keepBinlogs(ctx, nil)
}

// ensureMachine finds the machine that was made under this step's key, or makes it. Machines of an
// earlier generation are ended.
func (s *step) ensureMachine(ctx context.Context, srv inventory.Server) (provider.Machine, error) {
	list, err := s.w.Cloud.ListMachines(ctx,
		s.made(map[string]string{TagJob: s.JobID, TagServer: srv.Name}))
	if err != nil {
		return provider.Machine{}, err
	}
	var ours *provider.Machine
	for i, m := range list {
		switch {
		case m.Tags[TagStep] == s.EffectKey:
			ours = &list[i]
		case m.State != provider.MachineTerminated && m.State != provider.MachineStopping:
			if err := s.letGo(srv); srv.MachineID == m.ID && err != nil {
				return m, err
			}
			if err := s.w.Cloud.TerminateMachine(ctx, m.ID); err != nil && !missing(err) {
				return m, err
			}
			s.Changed("ended machine %s, which is to be made anew", m.ID)
		}
	}
	if ours == nil {
		return s.newMachine(ctx, srv)
	}
	if ours.State == provider.MachineTerminated {
		return *ours, machineGone(*ours, srv.Name)
	}
	return *ours, nil
}

func machineGone(m provider.Machine, server string) error {
	return refuse(errorsv1.Reason_REASON_MACHINE_GONE, "have another made (`understudy job redo "+
		"JOB create_machine`), or remove the rest (`understudy job cleanup JOB`)",
		"machine %s of %s was terminated by somebody else: %s", m.ID, server,
		or(m.Reason, "no reason given"))
}

func (s *step) newMachine(ctx context.Context, srv inventory.Server) (provider.Machine, error) {
	join, err := s.w.Tokens.JoinFile(ctx, srv.Name)
	if err != nil {
		return provider.Machine{}, fmt.Errorf("cannot mint a join token for %s: %w", srv.Name, err)
	}
	if err := s.Prove(ctx); err != nil {
		return provider.Machine{}, err
	}
	m, err := s.w.Cloud.CreateMachine(ctx, provider.CreateMachineRequest{
		ClientToken: clientToken(s.EffectKey), Name: srv.Name, Image: srv.Image, Zone: srv.Zone,
		Tags: s.tags(srv.Name, roleMachine), UserData: join,
	})
	if err != nil {
		return m, fmt.Errorf("cannot make a machine for %s: %w", srv.Name, err)
	}
	s.Changed("made machine %s from image %s", m.ID, m.Image)
	return m, nil
}

// needsMachine refuses a step that is run alone before there is a machine.
func needsMachine(srv inventory.Server) error {
	if srv.MachineID != "" {
		return nil
	}
	return refuse(errorsv1.Reason_REASON_MACHINE_GONE,
		"run create_machine first: `understudy job retry JOB` goes on there",
		"%s has no machine on record", srv.Name)
}

// awaitAgent waits until the machine's own agent has enrolled and answers, and refuses an unfit
// binary before anything is done with it.
func (s *step) awaitAgent(ctx context.Context) (outcome, error) {
	srv, err := s.server(ctx, s.args.Server)
	if err != nil {
		return outcome{}, err
	}
	if err := needsMachine(srv); err != nil {
		return outcome{}, err
	}
	agent, err := s.w.Agents.Agent(ctx, srv.Name)
	if err != nil {
		return s.whyNoAgent(ctx, srv, err)
	}
	host, err := agent.Host(ctx)
	if err != nil {
		return outcome{}, err
	}
	if host.Server != srv.Name {
		return outcome{}, refuse(errorsv1.Reason_REASON_DEVICE_WRONG, "another machine answers "+
			"at this address: have one made anew (`understudy job redo JOB create_machine`)",
			"the agent at %s is %q's, not %s's", srv.Address, host.Server, srv.Name)
	}
	s.Found("%s, systemd %s, MariaDB %s, agent %s", host.OS, host.SystemdVersion,
		or(host.MariaDBVersion, "not installed"), host.AgentVersion)
	if err := s.checkBinary(ctx, srv, host.MariaDBVersion); err != nil {
		return outcome{}, err
	}
	if sealer, ok := s.w.Cloud.(provider.Sealer); ok {
		if err := sealer.SealMachine(ctx, srv.MachineID); err != nil {
			return outcome{}, fmt.Errorf(
				"cannot take the join file out of the reach of machine %s: %w", srv.MachineID, err)
		}
	}
	return done(s.updateServer(srv.Name, func(srv *inventory.Server) error {
		srv.AgentVersion, srv.BinaryVersion, srv.LastSeen = host.AgentVersion, host.MariaDBVersion,
			s.w.Now()
		return nil
	}, "the agent answers"))
}

// whyNoAgent waits for the agent, unless its machine cannot run it.
func (s *step) whyNoAgent(ctx context.Context, srv inventory.Server, why error) (outcome, error) {
	if _, away := pause(why); !away {
		return outcome{}, why
	}
	if err := s.machineFit(ctx, srv); err != nil {
		return outcome{}, err
	}
	return s.again("the agent of %s does not answer yet", srv.Name)
}

// machineFit is the error of a server whose machine is gone for good. One that somebody switched
// off while this job makes the server is switched on again.
func (s *step) machineFit(ctx context.Context, srv inventory.Server) error {
	m, err := s.w.Cloud.GetMachine(ctx, srv.MachineID)
	switch {
	case missing(err):
		return machineGone(provider.Machine{ID: srv.MachineID}, srv.Name)
	case err != nil:
		return err
	case m.State == provider.MachineTerminated:
		return machineGone(m, srv.Name)
	case m.State == provider.MachineStopped && srv.Job == s.JobID && !everReady(srv):
		if err := s.w.Cloud.StartMachine(ctx, m.ID); err != nil {
			return err
		}
		s.Changed("switched machine %s on", m.ID)
	}
	return nil
}

// whyAway is the error of an agent that will never answer, as its machine is gone; nil when waiting
// for it makes sense.
func (s *step) whyAway(ctx context.Context, why error) error {
	if !isReason(why, errorsv1.Reason_REASON_AGENT_UNREACHABLE) {
		return nil
	}
	srv, err := s.server(ctx, errs.MetaOf(why)["server"])
	if err == nil && srv.MachineID != "" {
		err = s.machineFit(ctx, srv)
	}
	if isReason(err, errorsv1.Reason_REASON_MACHINE_GONE) {
		return err
	}
	return nil
}

// leaves reports whether what was to be taken away on a server went with its machine.
func (s *step) leaves(ctx context.Context, why error) bool {
	gone := s.whyAway(ctx, why)
	if gone != nil {
		s.Found("%v", gone)
	}
	return gone != nil
}

// checkBinary refuses a copy that is of a newer series than the machine's MariaDB: a datadir never
// goes back.
func (s *step) checkBinary(ctx context.Context, srv inventory.Server, version string) error {
	if version == "" {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_MARIADB_DOWN,
			"no MariaDB is installed on "+srv.Name,
			errs.WithHint(
				"clean the job up and name an image that has one (`understudy provider images`)"))
	}
	if srv.Role != inventory.RoleReplica {
		return nil
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	return checkVersions(snap.Testimony.Version, version)
}
