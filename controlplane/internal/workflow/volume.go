package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// swapVolume makes sure that the image's default data volume is gone, and that the server's own
// volume is attached and seen by its host. No other volume is touched, and nothing is recorded from
// the default one.
func (s *step) swapVolume(ctx context.Context) (outcome, error) {
	srv, err := s.server(ctx, s.args.Server)
	if err != nil {
		return outcome{}, err
	}
	if err := needsMachine(srv); err != nil {
		return outcome{}, err
	}
	if err := s.keepIfReplica(ctx, srv); err != nil {
		return outcome{}, err
	}
	vol, err := s.ensureVolume(ctx, srv)
	if err != nil {
		return outcome{}, err
	}
	if err := s.dropDefaults(ctx, srv); err != nil {
		return outcome{}, err
	}
	if err := s.ensureAttached(ctx, srv, vol); err != nil {
		return outcome{}, err
	}
	if err := s.seenByHost(ctx, srv, vol); err != nil {
		return outcome{}, err
	}
	return done(s.recordVolume(srv, vol))
}

// ensureVolume finds the volume that was made under this step's key, or makes it: from the
// snapshot, or blank.
func (s *step) ensureVolume(ctx context.Context, srv inventory.Server) (provider.Volume, error) {
	list, err := s.w.Cloud.ListVolumes(ctx,
		s.made(map[string]string{TagStep: s.EffectKey, TagRole: roleData}))
	if err != nil {
		return provider.Volume{}, err
	}
	for _, v := range list {
		if v.State != provider.VolumeDeleted && v.State != provider.VolumeDeleting {
			return v, s.checkVolume(v)
		}
	}
	req := provider.CreateVolumeRequest{
		ClientToken: clientToken(s.EffectKey), SizeBytes: s.args.VolumeBytes, Zone: srv.Zone,
		Tags: s.tags(srv.Name, roleData),
	}
	if srv.Role == inventory.RoleReplica {
		if req.SnapshotID, err = s.usableSnapshot(ctx, srv); err != nil {
			return provider.Volume{}, err
		}
	}
	if err := s.Prove(ctx); err != nil {
		return provider.Volume{}, err
	}
	v, err := s.w.Cloud.CreateVolume(ctx, req)
	if err != nil {
		return v, fmt.Errorf("cannot make a volume for %s: %w", srv.Name, err)
	}
	s.Changed("made volume %s %s", v.ID, fromWhat(req.SnapshotID))
	return v, nil
}

func (s *step) checkVolume(v provider.Volume) error {
	if v.State == provider.VolumeError {
		return refuse(errorsv1.Reason_REASON_PROVIDER_ERROR, "see why with `understudy provider "+
			"check`, then have another made: `understudy job redo JOB swap_volume`",
			"the provider could not make volume %s: %s", v.ID, or(v.Reason, "no reason given"))
	}
	s.Found("volume %s was made %s", v.ID, fromWhat(v.SnapshotID))
	return nil
}

func fromWhat(snapshot string) string {
	if snapshot == "" {
		return "blank"
	}
	return "from snapshot " + snapshot
}

// usableSnapshot is the provider's id of the snapshot to copy, looked at once more.
func (s *step) usableSnapshot(ctx context.Context, srv inventory.Server) (string, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return "", err
	}
	return snap.ProviderID, s.usable(ctx, snap, srv.Primary)
}

// dropDefaults takes the image's default data volumes away from the machine, and no others: off the
// host first, then off the machine.
func (s *step) dropDefaults(ctx context.Context, srv inventory.Server) error {
	attached, err := s.w.Cloud.ListVolumes(ctx, provider.Filter{MachineID: srv.MachineID})
	if err != nil {
		return err
	}
	for _, v := range attached {
		if s.replaces(v) {
			return s.detachDefault(ctx, srv, v) // one at a time: it waits until that one is off
		}
	}
	return s.deleteDefaults(ctx, srv)
}

// replaces reports whether the attached volume is one that the server's own takes the place of: the
// image's default one, or one that this step made in an earlier generation.
func (s *step) replaces(v provider.Volume) bool {
	ours := v.Tags[TagJob] == s.JobID
	if v.Tags[TagRole] == roleData {
		return ours && v.Tags[TagStep] != s.EffectKey
	}
	return v.Default || ours && v.Tags[TagRole] == roleDefault
}

func (s *step) detachDefault(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	if err := s.letGo(srv); v.Tags[TagRole] == roleData &&
		srv.DataVolume == volumeID(v.Tags[TagStep]) && err != nil {
		return err
	}
	// Once detached it is told from other people's volumes by this tag alone.
	if v.Tags[TagJob] != s.JobID || v.Tags[TagRole] != roleDefault {
		if err := s.w.Cloud.SetTags(ctx, v.ID, s.tags(srv.Name, roleDefault)); err != nil {
			return err
		}
	}
	if v.Attachment == provider.AttachmentDetaching {
		return wait("the image's volume %s is being detached: %s", v.ID, or(v.Reason, "under way"))
	}
	if err := s.unmountDefault(ctx, srv, v); err != nil {
		return err
	}
	if _, err := s.w.Cloud.DetachVolume(ctx, v.ID, srv.MachineID); err != nil &&
		!errors.Is(err, provider.ErrIncorrectState) && !missing(err) {
		return fmt.Errorf("cannot detach the image's volume %s: %w", v.ID, err)
	}
	s.Changed("detached the image's volume %s", v.ID)
	return wait("the image's volume %s is being detached", v.ID)
}

// unmountDefault takes the image's volume out of use on the host, with the MariaDB that runs on it.
func (s *step) unmountDefault(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	agent, err := s.w.Agents.Agent(ctx, srv.Name)
	if err != nil {
		return fmt.Errorf("cannot reach the agent of %s: %w", srv.Name, err)
	}
	if err := s.quiesce(ctx, agent); err != nil {
		return err
	}
	names := s.w.Cloud.DeviceNames(v.ID)
	paths, err := mountedAt(ctx, agent, names)
	if err != nil {
		return err
	}
	for _, path := range paths {
		changes, err := agent.EnsureUnmounted(ctx,
			EnsureUnmounted{Path: path, ExpectedDeviceIDs: names, StopUnits: []string{mariadbUnit},
				Fence: s.fence()})
		if err != nil {
			return err
		}
		s.changed(path, changes)
	}
	return nil
}

// mountedAt are the paths where a volume is mounted, the bound ones first.
func mountedAt(ctx context.Context, agent Agent, names []string) ([]string, error) {
	devices, err := agent.BlockDevices(ctx)
	if err != nil {
		return nil, err
	}
	candidates := []string{datadirPath, dataMount}
	for _, d := range devices {
		if overlap(d.IDs, names) {
			candidates = append(candidates, d.MountPoints...)
		}
	}
	var paths []string
	for _, path := range candidates {
		mount, err := agent.Mount(ctx, path)
		if err != nil && !missing(err) {
			return nil, err
		}
		if err == nil && mount.Mounted && overlap(mount.DeviceIDs, names) &&
			!slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// deleteDefaults deletes the default volumes that this job has detached, and the data volumes of
// earlier generations: one whose machine was made anew too is not attached here any more.
func (s *step) deleteDefaults(ctx context.Context, srv inventory.Server) error {
	list, err := s.w.Cloud.ListVolumes(ctx,
		s.made(map[string]string{TagJob: s.JobID, TagServer: srv.Name}))
	if err != nil {
		return err
	}
	for _, v := range list {
		switch {
		case v.State == provider.VolumeDeleting || v.State == provider.VolumeDeleted ||
			v.Tags[TagRole] != roleDefault && !s.replaces(v):
		case v.Tags[TagRole] == roleData && v.MachineID != "" && v.MachineID != srv.MachineID &&
			!s.going(ctx, v.MachineID):
			s.Found("volume %s of an earlier generation is attached to machine %s, and left alone",
				v.ID, v.MachineID)
		case v.MachineID != "" || v.State == provider.VolumeInUse:
			return wait("the replaced volume %s is still attached", v.ID)
		default:
			err := s.w.Cloud.DeleteVolume(ctx, v.ID)
			if errors.Is(err, provider.ErrIncorrectState) && v.State == provider.VolumeCreating {
				s.Found("volume %s of an earlier generation hangs in its creation, and is left "+
					"to `understudy provider sweep`", v.ID)
				continue
			}
			if err != nil && !missing(err) {
				return fmt.Errorf("cannot delete the replaced volume %s: %w", v.ID, err)
			}
			s.Changed("deleted the replaced volume %s", v.ID)
		}
	}
	return nil
}

// ensureAttached gives the volume to the machine; the provider takes no token for that, so it looks
// first.
func (s *step) ensureAttached(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	switch {
	case v.State == provider.VolumeCreating:
		return s.beingMade(v)
	case v.MachineID == srv.MachineID && v.Attachment == provider.AttachmentAttached:
		return nil
	case v.MachineID == srv.MachineID:
		return wait("volume %s is %s%s", v.ID, v.Attachment, because(v.Reason))
	case v.MachineID != "":
		return s.attachedElsewhere(ctx, v)
	}
	_, err := s.w.Cloud.AttachVolume(ctx, v.ID, srv.MachineID)
	if errors.Is(err, provider.ErrInUse) {
		return wait("volume %s is in use by %s", v.ID, provider.HeldBy(err)) // looked at anew
	}
	if err != nil {
		if gone := s.machineFit(ctx, srv); isReason(gone, errorsv1.Reason_REASON_MACHINE_GONE) {
			return gone
		}
		return fmt.Errorf("cannot attach volume %s: %w", v.ID, err)
	}
	s.Changed("attached volume %s to machine %s", v.ID, srv.MachineID)
	return wait("volume %s is being attached", v.ID)
}

// beingMade waits for a volume, but not for ever: one that hangs in its creation does so for good.
func (s *step) beingMade(v provider.Volume) error {
	_, byHand := s.w.cutTime() // people take the time that they take
	if since := s.w.Now().Sub(v.CreatedAt); !byHand && since > s.w.VolumeLimit {
		return refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
			"have another made (`understudy job redo JOB swap_volume`)",
			"volume %s is still being made by the provider after %s", v.ID,
			since.Round(time.Second))
	}
	return wait("volume %s is being made%s", v.ID, because(v.Reason))
}

// attachedElsewhere waits for a machine of this job that is going, and refuses any other.
func (s *step) attachedElsewhere(ctx context.Context, v provider.Volume) error {
	if s.going(ctx, v.MachineID) {
		return wait("volume %s is still held by machine %s, which is going", v.ID, v.MachineID)
	}
	return refuse(errorsv1.Reason_REASON_VOLUME_ATTACHED_ELSEWHERE,
		"detach it there, then `understudy job retry JOB`",
		"volume %s is attached to machine %s", v.ID, v.MachineID)
}

// going reports whether a machine is one of this job's that is being ended.
func (s *step) going(ctx context.Context, machine string) bool {
	m, err := s.w.Cloud.GetMachine(ctx, machine)
	return err == nil && m.Tags[TagJob] == s.JobID &&
		(m.State == provider.MachineStopping || m.State == provider.MachineTerminated)
}

// seenByHost waits until the host has the volume's device.
func (s *step) seenByHost(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	agent, err := s.w.Agents.Agent(ctx, srv.Name)
	if err != nil {
		return fmt.Errorf("cannot reach the agent of %s: %w", srv.Name, err)
	}
	devices, err := agent.BlockDevices(ctx)
	if err != nil {
		return err
	}
	names := s.w.Cloud.DeviceNames(v.ID)
	for _, d := range devices {
		if overlap(d.IDs, names) {
			s.Found("the host sees volume %s as %s, %s", v.ID, d.Path, sizeOf(d.SizeBytes))
			return nil
		}
	}
	return wait("the host does not see volume %s yet", v.ID)
}

// recordVolume records the server's own volume, and that its datadir belongs on it.
func (s *step) recordVolume(srv inventory.Server, v provider.Volume) commit {
	id := volumeID(s.EffectKey)
	return func(ctx context.Context, rec Records) error {
		vol, err := rec.Volumes().Get(ctx, id)
		switch {
		case missing(err):
			vol = inventory.Volume{
				ID: id, Provider: srv.Provider, ProviderID: v.ID, SizeBytes: v.SizeBytes,
				Zone: v.Zone, MachineID: srv.MachineID,
				Server: srv.Name, Snapshot: s.provenance(v), State: inventory.VolumeAttached,
				Job: s.JobID, EffectKey: s.EffectKey,
			}
			err = rec.Volumes().Insert(ctx, &vol)
		case err == nil && (vol.MachineID != srv.MachineID ||
			vol.State != inventory.VolumeAttached):
			vol.MachineID, vol.State = srv.MachineID, inventory.VolumeAttached
			err = rec.Volumes().Update(ctx, &vol)
		}
		if err != nil {
			return err
		}
		if err := s.replacedGone(ctx, rec, srv.Name, id); err != nil {
			return err
		}
		return s.updateServer(srv.Name, func(srv *inventory.Server) error {
			if srv.DataVolume != id {
				srv.DataVolume, srv.Mounts, srv.DatadirVersion = id, nil, ""
			}
			return nil
		}, "volume %s is attached", v.ID)(ctx, rec)
	}
}

// replacedGone records that the server's volume of an earlier generation is gone.
func (s *step) replacedGone(ctx context.Context, rec Records, server, id string) error {
	srv, err := rec.Servers().Get(ctx, server)
	if err != nil || srv.DataVolume == id {
		return err
	}
	return s.volumeGone(ctx, rec, srv.DataVolume)
}

func (s *step) provenance(v provider.Volume) string {
	if v.SnapshotID == "" {
		return ""
	}
	return s.args.Snapshot
}
