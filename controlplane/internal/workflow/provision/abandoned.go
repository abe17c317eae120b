package provision

import (
	"context"
	"fmt"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// DropAbandoned deletes the data volumes that a job made in vain: it ended before anything was
// taken off the server that has its earlier one. No host has mounted them.
func DropAbandoned(ctx context.Context, c *kit.Call, args kit.MakeArgs) (kit.Commit, error) {
	s := &step{Call: c, args: args}
	srv, err := s.Server(ctx, args.Server)
	if err != nil {
		return nil, err
	}
	list, err := s.Provider.ListVolumes(ctx, s.Made(map[string]string{kit.TagJob: s.JobID,
		kit.TagServer: srv.Name, kit.TagRole: kit.RoleData}))
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		key := v.Tags[kit.TagStep]
		if kit.VolumeID(key) == srv.DataVolume || !strings.HasPrefix(key, s.JobID+"/") ||
			v.State == provider.VolumeDeleting || v.State == provider.VolumeDeleted {
			continue
		}
		if err := s.dropAbandoned(ctx, srv, v); err != nil {
			return nil, err
		}
	}
	return s.recordAbandonedGone(srv.Name), nil
}

func (s *step) dropAbandoned(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	if err := s.abandon(ctx, srv, v); err != nil {
		return err
	}
	if v.MachineID == srv.MachineID && v.Attachment == provider.AttachmentAttached {
		if _, err := s.Provider.DetachVolume(ctx, v.ID, v.MachineID); err != nil {
			return fmt.Errorf("cannot detach volume %s, which was made in vain: %w", v.ID, err)
		}
	}
	return s.deleteReplaced(ctx, srv, v)
}

// abandon records that the volume goes before it does: a retry makes another one, and has to ask
// the provider by another token.
func (s *step) abandon(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	key := v.Tags[kit.TagStep]
	old, err := s.abandoned(ctx, key)
	if err != nil || old.ProviderID == v.ID {
		return err
	}
	return kit.Waiting{Reason: "volume " + v.ID + ", made in vain, is taken off the record",
		Commit: func(ctx context.Context, rec kit.Records) error {
			vol := inventory.Volume{ID: kit.VolumeID(key), Provider: srv.Provider, Server: srv.Name,
				Job: s.JobID, EffectKey: key, Created: old.Created, Updated: old.Updated,
				Rev: old.Rev, ProviderID: v.ID, SizeBytes: v.SizeBytes, Zone: v.Zone,
				Snapshot: s.provenance(v), State: inventory.VolumeDeleting}
			if old.ID == "" {
				return rec.Volumes.Insert(ctx, &vol)
			}
			return rec.Volumes.Update(ctx, &vol)
		}}
}

// abandoned is the record of the volume under this key that was made in vain; the zero one for
// none.
func (s *step) abandoned(ctx context.Context, key string) (inventory.Volume, error) {
	vol, err := s.Volume(ctx, kit.VolumeID(key))
	switch {
	case kit.Missing(err) || err == nil && vol.State != inventory.VolumeDeleting &&
		vol.State != inventory.VolumeDeleted:
		return inventory.Volume{}, nil
	case err != nil:
		return inventory.Volume{}, err
	}
	return vol, nil
}

// volumeToken is what the provider makes this step's volume under, once.
func (s *step) volumeToken(ctx context.Context) (string, error) {
	old, err := s.abandoned(ctx, s.EffectKey)
	if err != nil || old.ID == "" {
		return kit.ClientToken(s.EffectKey), err
	}
	return kit.ClientToken(s.EffectKey + "/" + old.ProviderID), nil
}

func (s *step) recordAbandonedGone(server string) kit.Commit {
	return func(ctx context.Context, rec kit.Records) error {
		all, err := rec.Volumes.OfServer(ctx, server)
		if err != nil {
			return err
		}
		for _, v := range all {
			if v.Job != s.JobID || v.State != inventory.VolumeDeleting {
				continue
			}
			if err := kit.VolumeGone(ctx, rec, v.ID); err != nil {
				return err
			}
		}
		return nil
	}
}
