package remove

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// server is one call of a step that removes a server.
type server struct {
	*kit.Call
	name    string
	maker   string // job that made it: a later server of the name is left alone
	deletes bool   // the job deletes a server; else it removes what it has made itself
}

// which tells a step which server it is about.
type which func(c *kit.Call) *server

// asked is the server that a deletion is asked for.
func asked(c *kit.Call) *server {
	a := c.Args.(ServerArgs)
	return &server{Call: c, name: a.Server, maker: a.MadeBy, deletes: true}
}

// own is the server that the job makes.
func own(c *kit.Call) *server {
	return &server{Call: c, name: c.Making(), maker: c.JobID}
}

func run(of which, h func(*server, context.Context) (kit.Outcome, error)) kit.Handler {
	return func(ctx context.Context, c *kit.Call) (kit.Outcome, error) {
		return h(of(c), ctx)
	}
}

func dryRun(of which, h func(*server, context.Context) ([]string, error)) kit.DryRun {
	return func(ctx context.Context, c *kit.Call, _ *kit.Preview) ([]string, error) {
		return h(of(c), ctx)
	}
}

// Rest removes what is left of the server that a job makes, in one go.
func Rest(ctx context.Context, c *kit.Call) (kit.Commit, error) {
	return own(c).rest(ctx)
}

// ours reports whether the record is of the server to remove, and not of a later namesake.
func (s *server) ours(srv inventory.Server) bool { return srv.Job == s.maker }

// check refuses to delete what others depend on, and records that the server is being deleted.
func (s *server) check(ctx context.Context) (kit.Outcome, error) {
	srv, err := s.Record(ctx, s.name)
	if err != nil {
		return kit.Outcome{}, err
	}
	if !s.ours(srv) {
		return kit.NotNeeded("the server that was to go is gone, %s is another one of that name",
			srv.Name)
	}
	commit, err := s.announce(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(commit)
}

// announce records that the server is being deleted, unless something depends on it.
func (s *server) announce(ctx context.Context) (kit.Commit, error) {
	if err := s.Unused(ctx, inventory.ServerSubject(s.name)); err != nil {
		return nil, err
	}
	return func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, s.name)
		if err != nil || going(srv) || !s.ours(srv) {
			return err
		}
		if err := noReplicas(ctx, rec, srv.Name); err != nil {
			return err
		}
		if err := srv.SetState(inventory.ServerDeleting, "job "+s.JobID); err != nil {
			return err
		}
		if err := rec.Servers.Update(ctx, &srv); err != nil {
			return err
		}
		return s.Event(ctx, rec, "server.delete", srv.Subject(), "%s is being deleted", srv.Name)
	}, nil
}

// free refuses to remove what others depend on.
func (s *server) free(ctx context.Context) error {
	if err := s.Unused(ctx, inventory.ServerSubject(s.name)); err != nil {
		return err
	}
	return s.Store.Read(ctx, func(ctx context.Context, rec kit.Records) error {
		return noReplicas(ctx, rec, s.name)
	})
}

func going(srv inventory.Server) bool {
	return srv.State == inventory.ServerDeleting || srv.State == inventory.ServerDeleted
}

// leave refuses where others depend on the server, and has the record of one that is to be deleted
// say that it goes before anything of it does.
func (s *server) leave(ctx context.Context) error {
	if s.deletes && s.Skipped(stepCheck) {
		return nil
	}
	srv, err := s.Record(ctx, s.name)
	if kit.Missing(err) || err == nil && (going(srv) || !s.ours(srv)) {
		return nil
	}
	if err != nil {
		return err
	}
	if !s.deletes {
		return s.free(ctx)
	}
	commit, err := s.announce(ctx)
	if err != nil {
		return err
	}
	return kit.Waiting{Reason: srv.Name + " is recorded as one that goes", Commit: commit}
}

// letGo is leave, and has the record name no mount any more.
func (s *server) letGo(ctx context.Context) error {
	if err := s.leave(ctx); err != nil {
		return err
	}
	srv, err := s.Record(ctx, s.name)
	if kit.Missing(err) || err == nil && !s.ours(srv) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.LetGo(srv)
}

// removeAccount drops the server's account on its primary.
func (s *server) removeAccount(ctx context.Context) (kit.Outcome, error) {
	if err := s.leave(ctx); err != nil {
		return kit.Outcome{}, err
	}
	srv, err := s.Record(ctx, s.name)
	if kit.Missing(err) || err == nil && (srv.Primary == "" || !s.ours(srv)) {
		return kit.NotNeeded("it has no primary")
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	if p, err := s.Record(ctx, srv.Primary); kit.Missing(err) || err == nil && going(p) {
		return kit.NotNeeded("the primary is gone")
	}
	agent, err := s.Agent(ctx, srv.Primary)
	if s.WentWithMachine(ctx, err) {
		return kit.NotNeeded("the primary is gone")
	}
	if err != nil {
		return kit.Outcome{}, err
	}
	account := kit.Account(srv.Name)
	dropped, err := agent.DeleteReplicationAccount(ctx, account, kit.AnyHost,
		s.FencingToken())
	if err != nil {
		return kit.Outcome{}, err
	}
	if dropped {
		s.Changed("dropped the account %s on %s", account, srv.Primary)
	}
	return kit.Done(nil)
}

func (s *server) removeMachine(ctx context.Context) (kit.Outcome, error) {
	return kit.DoneUnless(s.machineGone(ctx))
}

// machineGone terminates the machine and waits until it is gone.
func (s *server) machineGone(ctx context.Context) error {
	if err := s.letGo(ctx); err != nil {
		return err
	}
	list, err := s.Provider.ListMachines(ctx, s.belongs().All())
	if err != nil {
		return err
	}
	taken, err := s.taken(ctx)
	if err != nil {
		return err
	}
	var left []string
	why := ""
	for _, m := range list {
		if taken[m.ID] {
			continue
		}
		switch m.State {
		case provider.MachineTerminated:
			continue
		case provider.MachineStopping:
			why = kit.Because(m.Reason)
		default:
			if err := s.lastAudit(ctx); err != nil {
				return err
			}
			err := s.Provider.TerminateMachine(ctx, m.ID)
			if err := kit.Removed(s.Call, err, "machine "+m.ID, m.CreatedAt); err != nil {
				return fmt.Errorf("cannot terminate machine %s: %w", m.ID, err)
			}
			s.Changed("terminated machine %s", m.ID)
		}
		left = append(left, m.ID)
	}
	if len(left) > 0 {
		return kit.Wait("machine %s is going%s", kit.SomeOf(left, 3), why)
	}
	return nil
}

// lastAudit fetches the last records of the agent's calls, which go with the machine. An agent that
// cannot be reached keeps nothing from being deleted: that they are missing is an event.
func (s *server) lastAudit(ctx context.Context) error {
	srv, err := s.Record(ctx, s.name)
	if kit.Missing(err) || err == nil && (srv.AgentIdentity == "" || !s.ours(srv)) ||
		s.LastAudit == nil {
		return nil
	}
	if err != nil {
		return err
	}
	failed := s.LastAudit(ctx, s.name)
	if errors.Is(failed, errs.Unimplemented) {
		return nil // an agent of a version that records none
	}
	if failed == nil {
		s.Found("the last records of calls to the agent of %s are in the audit log", s.name)
		return nil
	}
	if ctx.Err() != nil {
		return failed
	}
	s.Found("the last records of calls to the agent of %s are missing from the audit log: %v",
		s.name, failed)
	return s.Store.Write(ctx, func(ctx context.Context, rec kit.Records) error {
		return s.Event(ctx, rec, "audit.missing", srv.Subject(), "the records that the agent of "+
			"%s made of its last calls went with its machine: %v", s.name, failed)
	})
}

func (s *server) wouldMachines(ctx context.Context) (would []string, err error) {
	list, err := s.Provider.ListMachines(ctx, s.belongs())
	for _, m := range list {
		if m.State != provider.MachineTerminated {
			would = append(would, "remove machine "+m.ID)
		}
	}
	return would, err
}

func (s *server) removeVolumes(ctx context.Context) (kit.Outcome, error) {
	return kit.DoneUnless(s.volumesGone(ctx))
}

// volumesGone deletes the volumes, which no machine has any more.
func (s *server) volumesGone(ctx context.Context) error {
	if !s.Skipped(stepRemoveMachine) {
		if err := s.machineGone(ctx); err != nil {
			return err
		}
	}
	if err := s.letGo(ctx); err != nil {
		return err
	}
	list, err := s.Provider.ListVolumes(ctx, s.belongs().All())
	if err != nil {
		return err
	}
	taken, err := s.taken(ctx)
	if err != nil {
		return err
	}
	var left []string
	for _, v := range list {
		if taken[v.ID] || v.State == provider.VolumeDeleted || v.State == provider.VolumeDeleting {
			continue
		}
		err := kit.Removed(s.Call, s.Provider.DeleteVolume(ctx, v.ID), "volume "+v.ID,
			v.CreatedAt)
		switch {
		case errors.Is(err, provider.ErrInUse) || errors.Is(err, provider.ErrIncorrectState):
			left = append(left, v.ID)
		case err != nil:
			return fmt.Errorf("cannot delete volume %s: %w", v.ID, err)
		default:
			s.Changed("deleted volume %s", v.ID)
		}
	}
	if len(left) > 0 {
		return kit.Wait("volume %s is still attached", kit.SomeOf(left, 3))
	}
	return nil
}

func (s *server) wouldVolumes(ctx context.Context) (would []string, err error) {
	list, err := s.Provider.ListVolumes(ctx, s.belongs())
	for _, v := range list {
		would = append(would, "remove volume "+v.ID)
	}
	return would, err
}
