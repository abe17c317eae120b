package workflow

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// settleSnapshot leaves the source as it was when the snapshot was not taken.
func (s *step) settleSnapshot(ctx context.Context) (outcome, error) {
	if !s.Unwinding {
		s.Found("no hold is left on %s", s.args.Source)
		return done(nil)
	}
	c, err := s.dropFailedSnapshot(ctx)
	if err != nil {
		return outcome{}, err
	}
	return done(c)
}

// dropFailedSnapshot deletes a snapshot that did not become READY, gives up its reservation and
// records it as failed.
func (s *step) dropFailedSnapshot(ctx context.Context) (commit, error) {
	snap, err := s.snapshot(ctx)
	if missing(err) {
		return nil, nil
	}
	if err != nil || snap.Job != s.JobID || snap.State == inventory.SnapshotReady ||
		snap.State == inventory.SnapshotDeleted {
		return nil, err
	}
	if err := s.deleteSnapshots(ctx, snap.ID); err != nil {
		return nil, err
	}
	if err := s.releaseBinlogs(ctx, snap.Server, snap.ID); err != nil {
		return nil, err
	}
	return s.updateSnapshot(func(snap *inventory.Snapshot) error {
		snap.ProviderID, snap.Reservation, snap.ReservedTo = "", "", time.Time{}
		return snap.SetState(inventory.SnapshotFailed,
			"job "+s.JobID+" did not complete it; nothing of it is left")
	}, "the snapshot was not taken; nothing of it is left"), nil
}

// deleteSnapshots deletes everything at the provider that was cut for a snapshot's record.
func (s *step) deleteSnapshots(ctx context.Context, id string) error {
	list, err := s.w.Cloud.ListSnapshots(ctx, s.made(map[string]string{TagSnapshot: id}))
	if err != nil {
		return err
	}
	for _, at := range list {
		if err := s.w.Cloud.DeleteSnapshot(ctx, at.ID); err != nil && !missing(err) {
			return fmt.Errorf("cannot delete snapshot %s: %w", at.ID, err)
		}
		s.Changed("deleted snapshot %s", at.ID)
	}
	return nil
}

// releaseBinlogs gives up a reservation on a server. On a server that is gone there is none.
func (s *step) releaseBinlogs(ctx context.Context, server, id string) error {
	s.renewAgain()
	srv, err := s.server(ctx, server)
	if missing(err) || err == nil && srv.State == inventory.ServerDeleted {
		return nil
	}
	if err != nil {
		return err
	}
	agent, err := s.w.Agents.Agent(ctx, server)
	if s.leaves(ctx, err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot reach the agent of %s to release its binary logs (they are "+
			"released by themselves in time): %w", server, err)
	}
	changed, err := agent.ReleaseBinlogs(ctx, id, s.fence())
	if err != nil {
		return err
	}
	if changed {
		s.Changed("binary logs on %s are no longer reserved for %s", server, id)
	}
	return nil
}

// settlePrimary records a primary whose making ended as failed, and says what is left of it.
func (s *step) settlePrimary(ctx context.Context) (outcome, error) {
	if !s.Unwinding {
		return done(nil)
	}
	if s.args.Cleanup {
		return s.removeServer(ctx)
	}
	if err := s.tellLeftovers(ctx); err != nil {
		return outcome{}, err
	}
	return done(s.recordFailed())
}

// settleReplica leaves the primary as it was when the replica was not made, and says what is left
// of the replica.
func (s *step) settleReplica(ctx context.Context) (outcome, error) {
	if !s.Unwinding {
		s.Found("nothing of this job is held on %s", s.args.Source)
		return done(nil)
	}
	dropped, err := s.dropFailedOwnSnapshot(ctx)
	if err != nil {
		return outcome{}, err
	}
	if err := s.releaseBinlogs(ctx, s.args.Source, s.reservation()); err != nil {
		return outcome{}, err
	}
	if s.args.Cleanup {
		out, err := s.removeServer(ctx)
		out.commit = both(dropped, out.commit)
		return out, err
	}
	if err := s.tellLeftovers(ctx); err != nil {
		return outcome{}, err
	}
	return done(both(dropped, s.recordFailed()))
}

func (s *step) dropFailedOwnSnapshot(ctx context.Context) (commit, error) {
	if !s.args.TakeSnapshot {
		return nil, nil
	}
	return s.dropFailedSnapshot(ctx)
}

// recordFailed marks the server as one whose making failed.
func (s *step) recordFailed() commit {
	return func(ctx context.Context, rec Records) error {
		srv, err := rec.Servers().Get(ctx, s.args.Server)
		if missing(err) || err == nil &&
			(srv.Job != s.JobID || srv.State != inventory.ServerProvisioning) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := srv.SetState(inventory.ServerFailed,
			"job "+s.JobID+" ended before it was READY: retry it, or clean it up"); err != nil {
			return err
		}
		if err := rec.Servers().Update(ctx, &srv); err != nil {
			return err
		}
		return s.audit(ctx, rec, "server.update", srv.Subject(), "the making of %s failed",
			srv.Name)
	}
}

// tellLeftovers says what this job has made so far.
func (s *step) tellLeftovers(ctx context.Context) error {
	filter := s.made(map[string]string{TagJob: s.JobID})
	machines, err := s.w.Cloud.ListMachines(ctx, filter)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if m.State != provider.MachineTerminated {
			s.Found("machine %s of this job is left: clean the job up to remove it", m.ID)
		}
	}
	volumes, err := s.w.Cloud.ListVolumes(ctx, filter)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		s.Found("volume %s of this job is left: clean the job up to remove it", v.ID)
	}
	return nil
}

// both runs two commits in one transaction; either may be nil.
func both(a, b commit) commit {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(ctx context.Context, rec Records) error {
		if err := a(ctx, rec); err != nil {
			return err
		}
		return b(ctx, rec)
	}
}
