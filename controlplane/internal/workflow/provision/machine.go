package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// createMachine makes sure that the server's machine exists and is switched on. One that an earlier
// attempt made is found by its tag.
func (s *step) createMachine(ctx context.Context) (kit.Outcome, error) {
	srv, err := s.Server(ctx, s.args.Server)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := s.keepIfReplica(ctx, srv); err != nil {
		return kit.Outcome{}, err
	}
	m, err := s.ensureMachine(ctx, srv)
	if err != nil {
		return kit.Outcome{}, err
	}
	switch m.State {
	case provider.MachineRunning:
		if m.Address == "" && m.Reason != "" {
			return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
				kit.Hint("see to that, then have another made", errs.Call("CheckProvider"),
					kit.RedoThis(kit.StepCreateMachine)),
				"machine %s of %s runs without an address: %s", m.ID, srv.Name, m.Reason)
		}
		s.Found("machine %s runs at %s", m.ID, m.Address)
		return kit.Done(s.UpdateServer(srv.Name, func(srv *inventory.Server) error {
			srv.MachineID, srv.Address, srv.Zone, srv.Image = m.ID, m.Address,
				cmp.Or(m.Zone, srv.Zone),
				m.Image
			return nil
		}, "machine %s runs at %s", m.ID, m.Address))
	case provider.MachineTerminated:
		return kit.Outcome{}, s.MachineGone(ctx, m, srv)
	case provider.MachineStopped:
		if m.Failed {
			return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
				kit.Hint("see to that, then have another made", errs.Call("CheckProvider"),
					kit.RedoThis(kit.StepCreateMachine)),
				"the provider itself stopped machine %s of %s: %s", m.ID, srv.Name, m.Reason)
		}
		if err := s.Provider.StartMachine(ctx, m.ID); err != nil {
			return kit.Outcome{}, err
		}
		s.Changed("switched machine %s on", m.ID)
	}
	return s.Again("machine %s is %s%s", m.ID, m.State, kit.Because(m.Reason))
}

func (s *step) keepIfReplica(ctx context.Context, srv inventory.Server) error {
	if srv.Role != inventory.RoleReplica {
		return nil
	}
	return host.KeepBinlogs(ctx, s.Call, s.args, nil, false)
}

// ensureMachine finds the machine that was made under this step's key, or makes it. Machines of an
// earlier generation are ended.
func (s *step) ensureMachine(ctx context.Context, srv inventory.Server) (provider.Machine, error) {
	list, err := s.Provider.ListMachines(ctx,
		s.Made(map[string]string{kit.TagJob: s.JobID, kit.TagServer: srv.Name}))
	if err != nil {
		return provider.Machine{}, err
	}
	var ours *provider.Machine
	for i, m := range list {
		switch {
		case m.Tags[kit.TagStep] == s.EffectKey:
			ours = &list[i]
		case m.State != provider.MachineTerminated && m.State != provider.MachineStopping:
			if err := s.LetGo(srv); srv.MachineID == m.ID && err != nil {
				return m, err
			}
			err := s.Provider.TerminateMachine(ctx, m.ID)
			if err := kit.Removed(s.Call, err, "machine "+m.ID, m.CreatedAt); err != nil {
				return m, err
			}
			s.Changed("ended machine %s, which is to be made again", m.ID)
		}
	}
	if ours == nil {
		return s.newMachine(ctx, srv)
	}
	if ours.State == provider.MachineTerminated {
		return *ours, s.MachineGone(ctx, *ours, srv)
	}
	return *ours, nil
}

func (s *step) newMachine(ctx context.Context, srv inventory.Server) (provider.Machine, error) {
	join, err := s.Tokens.JoinFile(ctx, srv.Name)
	if err != nil {
		return provider.Machine{}, fmt.Errorf("cannot mint a join token for %s: %w", srv.Name, err)
	}
	if err := s.Prove(ctx); err != nil {
		return provider.Machine{}, err
	}
	m, err := s.Provider.CreateMachine(ctx, provider.CreateMachineRequest{
		ClientToken: kit.ClientToken(s.EffectKey), Name: srv.Name, Image: srv.Image, Zone: srv.Zone,
		OtherZones: otherZones(s, srv), Tags: s.Tags(srv.Name, kit.RoleMachine), UserData: join,
	})
	if errors.Is(err, provider.ErrEnded) {
		return m, s.MachineGone(ctx, provider.Machine{ID: "that this step made",
			Reason: "the provider shows it no more"}, srv)
	}
	if err != nil {
		return m, fmt.Errorf("cannot make a machine for %s: %w", srv.Name, err)
	}
	s.Changed("made machine %s from image %s", m.ID, m.Image)
	return m, nil
}

// otherZones reports whether the machine may be in another zone than the one of its plan: nobody
// asked for that one, and its volume can be made in any.
func otherZones(s *step, srv inventory.Server) bool {
	if s.args.Zone != "" || srv.Role != inventory.RoleReplica {
		return s.args.Zone == ""
	}
	regional, ok := s.Provider.(provider.Regional)
	return ok && regional.SnapshotsInEveryZone()
}

// awaitAgent waits until the machine's own agent has enrolled and answers, and refuses an unfit
// binary before anything is done with it.
func (s *step) awaitAgent(ctx context.Context) (kit.Outcome, error) {
	srv, err := s.Server(ctx, s.args.Server)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := kit.NeedsMachine(srv); err != nil {
		return kit.Outcome{}, err
	}
	agent, err := s.Agents.Agent(ctx, srv.Name)
	if err != nil {
		return s.whyNoAgent(ctx, srv, err)
	}
	is, err := agent.Host(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	if is.Server != srv.Name {
		return kit.Outcome{}, kit.Refuse(errorsv1.Reason_REASON_DEVICE_WRONG,
			kit.Hint("have one made again: another machine answers at this address",
				kit.RedoThis(kit.StepCreateMachine)),
			"the agent at %s is %q's, not %s's", srv.Address, is.Server, srv.Name)
	}
	s.Found("%s, systemd %s, MariaDB %s, agent %s", is.OS, is.SystemdVersion,
		cmp.Or(is.MariaDBVersion, "not installed"), is.AgentVersion)
	if err := s.checkBinary(ctx, srv, is.MariaDBVersion); err != nil {
		return kit.Outcome{}, err
	}
	if err := checkAgent(ctx, s.Call, srv, is); err != nil {
		return kit.Outcome{}, err
	}
	if err := s.checkUnused(ctx, srv, is); err != nil {
		return kit.Outcome{}, err
	}
	if sealer, ok := s.Provider.(provider.Sealer); ok {
		if err := sealer.SealMachine(ctx, srv.MachineID); err != nil {
			return kit.Outcome{}, fmt.Errorf(
				"cannot take the join file out of the reach of machine %s: %w", srv.MachineID, err)
		}
	}
	return kit.Done(s.UpdateServer(srv.Name, func(srv *inventory.Server) error {
		// It may have enrolled before its server had a record.
		srv.AgentIdentity = identity.Agent(srv.Name).String()
		srv.AgentVersion, srv.BinaryVersion, srv.LastSeen = is.AgentVersion, is.MariaDBVersion,
			s.Now()
		return nil
	}, "the agent answers"))
}

// whyNoAgent waits for the agent, unless its machine cannot run it.
func (s *step) whyNoAgent(ctx context.Context, srv inventory.Server, why error) (kit.Outcome,
	error) {
	if _, away := kit.Pause(why); !away {
		return kit.Outcome{}, why
	}
	if err := s.MachineFit(ctx, srv); err != nil {
		return kit.Outcome{}, err
	}
	m, err := s.Provider.GetMachine(ctx, srv.MachineID)
	if err != nil {
		return kit.Outcome{}, err
	}
	if m.Address != "" && m.Address != srv.Address {
		s.Found("machine %s is at %s, not at %s", m.ID, m.Address, srv.Address)
		return kit.Outcome{}, kit.Waiting{Reason: "the agent of " + srv.Name + " is asked at " +
			m.Address, Commit: s.UpdateServer(srv.Name, func(srv *inventory.Server) error {
			srv.Address = m.Address
			return nil
		}, "machine %s is at %s", m.ID, m.Address)}
	}
	return s.Again("the agent of %s does not answer yet at %s", srv.Name, srv.Address)
}

// checkAgent refuses the host of a replica that could not be verified: its agent comes with the
// image, and is of another version than that of its primary.
func checkAgent(ctx context.Context, c *kit.Call, srv inventory.Server, its kit.HostInfo) error {
	if srv.Role != inventory.RoleReplica {
		return nil
	}
	primary, err := c.Agent(ctx, srv.Primary)
	if err != nil {
		return err
	}
	return host.ComparesWith(ctx, primary, srv.Primary, srv.Name, its)
}

// checkBinary refuses a copy that the machine's MariaDB cannot read: a datadir never goes back.
func (s *step) checkBinary(ctx context.Context, srv inventory.Server, version string) error {
	if version == "" {
		return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_MARIADB_DOWN,
			"no MariaDB is installed on "+srv.Name,
			errs.WithHint("clean the job up and name an image that has one",
				kit.CleanUpThis(), errs.Call("ListImages")))
	}
	if srv.Role != inventory.RoleReplica {
		return nil
	}
	snap, err := s.Snapshot(ctx, s.args.Snapshot)
	if err != nil {
		return err
	}
	if err := kit.CheckVersions(snap.Point.ServerVersion, version); err != nil {
		return err
	}
	return kit.CheckLog(snap.Point.ServerVersion, version, snap.Mode)
}
