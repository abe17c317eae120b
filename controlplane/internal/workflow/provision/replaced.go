package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/host"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// dropDefaults removes what the server's own volume takes the place of from the machine: off the
// host first, then off the machine.
func (s *step) dropDefaults(ctx context.Context, srv inventory.Server) error {
	attached, err := s.Provider.ListVolumes(ctx, provider.Filter{MachineID: srv.MachineID})
	if err != nil {
		return err
	}
	for _, v := range attached {
		if s.Replaces(v) {
			return s.detach(ctx, srv, v) // one at a time: it waits until that one is off
		}
	}
	return s.deleteDefaults(ctx, srv)
}

func (s *step) detach(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	if err := s.LetGo(srv); v.Tags[kit.TagRole] == kit.RoleData &&
		srv.DataVolume == kit.VolumeID(v.Tags[kit.TagStep]) && err != nil {
		return err
	}
	// Once detached the image's volume is known by this tag alone. The server's own of an earlier
	// generation keeps its tags: DropReplaced deletes it once the server is READY.
	own := v.Tags[kit.TagRole] == kit.RoleDefault || v.Tags[kit.TagRole] == kit.RoleData
	if !own || v.Tags[kit.TagJob] != s.JobID {
		if err := s.Provider.SetTags(ctx, v.ID, s.Tags(srv.Name, kit.RoleDefault)); err != nil {
			return err
		}
	}
	if v.Attachment == provider.AttachmentDetaching {
		return kit.Wait("the replaced volume %s is being detached: %s", v.ID,
			cmp.Or(v.Reason, "under way"))
	}
	if err := s.unmount(ctx, srv, v); err != nil {
		return err
	}
	if _, err := s.Provider.DetachVolume(ctx, v.ID, srv.MachineID); err != nil &&
		!errors.Is(err, provider.ErrIncorrectState) && !kit.Missing(err) {
		return fmt.Errorf("cannot detach the replaced volume %s: %w", v.ID, err)
	}
	s.Changed("detached the replaced volume %s", v.ID)
	return kit.Wait("the replaced volume %s is being detached", v.ID)
}

// unmount takes the image's volume out of use on the host, with the MariaDB that runs on it.
func (s *step) unmount(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	agent, err := s.Agent(ctx, srv.Name)
	if err != nil {
		return err
	}
	if err := host.StopMariaDB(ctx, s.Call, agent); err != nil {
		return err
	}
	names := s.Provider.DeviceNames(v.ID)
	paths, err := s.mountedAt(ctx, agent, names)
	if err != nil {
		return err
	}
	for _, path := range paths {
		changes, err := agent.EnsureUnmounted(ctx,
			kit.EnsureUnmounted{Path: path, ExpectedDeviceIDs: names,
				StopUnits: []string{kit.MariaDBUnit},
				Token:     s.FencingToken()})
		if err != nil {
			return err
		}
		s.ChangedAll(path, changes)
	}
	return nil
}

// mountedAt are the paths where a volume is mounted, the bound ones first. Where a broken server's
// volume belongs it may be mounted without a device that the host knows.
func (s *step) mountedAt(ctx context.Context, agent kit.Agent, names []string) ([]string, error) {
	devices, err := agent.BlockDevices(ctx)
	if err != nil {
		return nil, err
	}
	candidates := []string{kit.DatadirPath, kit.DataMount}
	for _, d := range devices {
		if kit.Overlap(d.IDs, names) {
			candidates = append(candidates, d.MountPoints...)
		}
	}
	var paths []string
	for _, path := range candidates {
		mount, err := agent.Mount(ctx, path)
		if err != nil && !kit.Missing(err) {
			return nil, err
		}
		lost := s.args.Replaces != "" && len(mount.DeviceIDs) == 0
		if err == nil && mount.Mounted && (lost || kit.Overlap(mount.DeviceIDs, names)) &&
			!slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// deleteDefaults deletes the image's default volumes that this job has detached.
func (s *step) deleteDefaults(ctx context.Context, srv inventory.Server) error {
	list, err := s.Provider.ListVolumes(ctx,
		s.Made(map[string]string{kit.TagJob: s.JobID, kit.TagServer: srv.Name}))
	if err != nil {
		return err
	}
	for _, v := range list {
		if v.Tags[kit.TagRole] != kit.RoleDefault {
			continue
		}
		if err := s.deleteReplaced(ctx, srv, v); err != nil {
			return err
		}
	}
	return nil
}

// deleteReplaced deletes a volume that the server's own has taken the place of.
func (s *step) deleteReplaced(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	switch {
	case v.State == provider.VolumeDeleting || v.State == provider.VolumeDeleted:
		return nil
	case v.MachineID != "" && v.MachineID != srv.MachineID && !s.going(ctx, v.MachineID):
		s.Found("volume %s of an earlier generation is attached to machine %s, and left alone",
			v.ID, v.MachineID)
		return nil
	case v.MachineID != "" || v.State == provider.VolumeInUse:
		return kit.Wait("the replaced volume %s is still attached", v.ID)
	}
	err := s.Provider.DeleteVolume(ctx, v.ID)
	if errors.Is(err, provider.ErrIncorrectState) && v.State == provider.VolumeCreating {
		s.Found("volume %s of an earlier generation hangs in its creation, and is left to a "+
			"sweep of the provider", v.ID)
		return nil
	}
	if err := kit.Removed(s.Call, err, "volume "+v.ID, v.CreatedAt); err != nil {
		return fmt.Errorf("cannot delete the replaced volume %s: %w", v.ID, err)
	}
	s.Changed("deleted the replaced volume %s", v.ID)
	return nil
}

// DropReplaced deletes the data volumes of earlier generations, which are kept until the server is
// READY on the volume that it has now.
func DropReplaced(ctx context.Context, c *kit.Call, args kit.MakeArgs) (kit.Commit, error) {
	s := &step{Call: c, args: args}
	srv, err := s.Server(ctx, args.Server)
	if err != nil || !srv.InService() { // it may be ill again since it was READY
		return nil, err
	}
	j, err := s.Jobs.Get(ctx, s.JobID)
	if err != nil {
		return nil, err
	}
	if swap, there := j.Step(kit.StepSwapVolume); there && swap.Generation == 1 &&
		args.Replaces == "" {
		return nil, nil // it was never replaced
	}
	list, err := s.Provider.ListVolumes(ctx, s.Made(map[string]string{kit.TagJob: s.JobID,
		kit.TagServer: srv.Name, kit.TagRole: kit.RoleData}))
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		if kit.VolumeID(v.Tags[kit.TagStep]) == srv.DataVolume {
			continue
		}
		if err := s.deleteReplaced(ctx, srv, v); err != nil {
			return nil, err
		}
	}
	return s.recordReplacedGone(srv), nil
}

// recordReplacedGone goes by the records: an earlier attempt may have deleted some of the volumes.
func (s *step) recordReplacedGone(srv inventory.Server) kit.Commit {
	return func(ctx context.Context, rec kit.Records) error {
		all, err := rec.Volumes.OfServer(ctx, srv.Name)
		if err != nil {
			return err
		}
		for _, v := range all {
			if v.Job != s.JobID || v.ID == srv.DataVolume || v.State != inventory.VolumeAvailable {
				continue
			}
			if err := kit.VolumeGone(ctx, rec, v.ID); err != nil {
				return err
			}
		}
		return nil
	}
}
