package remove

import (
	"context"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// forget removes what is left of the server and records that it is gone.
func (s *server) forget(ctx context.Context) (kit.Outcome, error) {
	gone, err := s.rest(ctx)
	if err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(gone)
}

func (s *server) rest(ctx context.Context) (kit.Commit, error) {
	if !s.Skipped(stepRemoveAccount) {
		if _, err := s.removeAccount(ctx); err != nil {
			return nil, err
		}
	}
	if !s.Skipped(stepRemoveMachine) {
		if err := s.machineGone(ctx); err != nil {
			return nil, err
		}
	}
	if !s.Skipped(stepRemoveVolumes) {
		if err := s.volumesGone(ctx); err != nil {
			return nil, err
		}
	}
	return s.recordGone(), nil
}

func (s *server) recordGone() kit.Commit {
	return func(ctx context.Context, rec kit.Records) error {
		srv, err := rec.Servers.Get(ctx, s.name)
		if kit.Missing(err) || err == nil &&
			(srv.State == inventory.ServerDeleted || !s.ours(srv)) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.recordVolumesGone(ctx, rec); err != nil {
			return err
		}
		if srv.State != inventory.ServerDeleting {
			if err := srv.SetState(inventory.ServerDeleting, "job "+s.JobID); err != nil {
				return err
			}
		}
		if err := srv.SetState(inventory.ServerDeleted,
			"job "+s.JobID+" deleted it"); err != nil {
			return err
		}
		srv.MachineID, srv.Address, srv.DataVolume, srv.Mounts = "", "", "", nil
		if err := rec.Servers.Update(ctx, &srv); err != nil {
			return err
		}
		if err := rec.ServerIDs.Release(ctx, srv.Name); err != nil {
			return err
		}
		if err := loseReplica(ctx, rec, srv); err != nil {
			return err
		}
		// What a copy of its machine still has opens nothing.
		for _, of := range []string{identity.Agent(srv.Name).String(),
			inventory.MariaDBIdentity(srv.Name)} {
			if _, err := rec.Certificates.Revoke(ctx, of, srv.Name+" is deleted"); err != nil {
				return err
			}
		}
		return s.Event(ctx, rec, "server.delete", srv.Subject(), "%s is deleted", srv.Name)
	}
}

// recordVolumesGone includes volumes that were kept when the server's own took their place.
func (s *server) recordVolumesGone(ctx context.Context, rec kit.Records) error {
	volumes, err := rec.Volumes.OfServer(ctx, s.name)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.Job != s.maker || v.State == inventory.VolumeDeleted {
			continue
		}
		if err := kit.VolumeGone(ctx, rec, v.ID); err != nil {
			return err
		}
	}
	return nil
}

// loseReplica records on the primary that a replica of it is gone.
func loseReplica(ctx context.Context, rec kit.Records, gone inventory.Server) error {
	if gone.Primary == "" {
		return nil
	}
	p, err := rec.Servers.Get(ctx, gone.Primary)
	if kit.Missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	rest, err := rec.Servers.ReplicasOf(ctx, p.Name)
	if err != nil {
		return err
	}
	was := p.ReplicationConfigured
	p.LoseReplica(slices.DeleteFunc(rest, func(name string) bool { return name == gone.Name }))
	if p.ReplicationConfigured == was {
		return nil
	}
	return rec.Servers.Update(ctx, &p)
}
