package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// swapVolume makes sure that the image's default data volume is gone, and that the server's own
// volume is attached and seen by its host. No other volume is touched, and nothing is recorded from
// the default one.
func (s *step) swapVolume(ctx context.Context) (kit.Outcome, error) {
	srv, err := s.Server(ctx, s.args.Server)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := kit.NeedsMachine(srv); err != nil {
		return kit.Outcome{}, err
	}
	if err := s.keepIfReplica(ctx, srv); err != nil {
		return kit.Outcome{}, err
	}
	vol, err := s.ensureVolume(ctx, srv)
	if err != nil {
		return kit.Outcome{}, err
	}
	if err := s.exchange(ctx, srv, vol); err != nil {
		return kit.Outcome{}, err
	}
	return kit.Done(s.recordVolume(srv, vol))
}

// exchange attaches the server's own volume and takes off what that replaces. A copy that may serve
// is taken off last, so that it serves until the new one is there.
func (s *step) exchange(ctx context.Context, srv inventory.Server, vol provider.Volume) error {
	serves := s.args.Replaces != ""
	if !serves {
		if err := s.dropDefaults(ctx, srv); err != nil {
			return err
		}
	}
	if err := s.ensureAttached(ctx, srv, vol); err != nil {
		return err
	}
	if err := s.seenByHost(ctx, srv, vol); err != nil || !serves {
		return err
	}
	return s.dropDefaults(ctx, srv)
}

// ensureVolume finds the volume that was made under this step's key, or makes it: from the
// snapshot, or blank.
func (s *step) ensureVolume(ctx context.Context, srv inventory.Server) (provider.Volume, error) {
	list, err := s.Provider.ListVolumes(ctx,
		s.Made(map[string]string{kit.TagStep: s.EffectKey, kit.TagRole: kit.RoleData}))
	if err != nil {
		return provider.Volume{}, err
	}
	for _, v := range list {
		if v.State != provider.VolumeDeleted && v.State != provider.VolumeDeleting {
			return v, s.checkVolume(v)
		}
	}
	token, err := s.volumeToken(ctx)
	if err != nil {
		return provider.Volume{}, err
	}
	req := provider.CreateVolumeRequest{
		ClientToken: token, SizeBytes: s.args.VolumeBytes, Zone: srv.Zone,
		Tags: s.Tags(srv.Name, kit.RoleData),
	}
	if srv.Role == inventory.RoleReplica {
		snap, err := s.usableSnapshot(ctx, srv)
		if err != nil {
			return provider.Volume{}, err
		}
		req.SnapshotID = snap.ProviderID
		if req.SizeBytes != 0 && s.args.Replaces != "" {
			req.SizeBytes = max(req.SizeBytes, snap.SizeBytes)
		}
	}
	if err := s.Prove(ctx); err != nil {
		return provider.Volume{}, err
	}
	v, err := s.Provider.CreateVolume(ctx, req)
	if errors.Is(err, provider.ErrEnded) {
		return v, kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR, kit.Hint("see to that, then "+
			"have another made", errs.Call("CheckProvider"), kit.RedoThis(kit.StepSwapVolume)),
			"no volume was made for %s: %v", srv.Name, err)
	}
	if err != nil {
		return v, fmt.Errorf("cannot make a volume for %s: %w", srv.Name, err)
	}
	s.Changed("made volume %s %s", v.ID, fromWhat(req.SnapshotID))
	return v, nil
}

func (s *step) checkVolume(v provider.Volume) error {
	if v.State == provider.VolumeError {
		return kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR, kit.Hint("see what the "+
			"provider says, then have another made",
			errs.Call("CheckProvider"), kit.RedoThis(kit.StepSwapVolume)),
			"the provider could not make volume %s: %s", v.ID, cmp.Or(v.Reason, "no reason given"))
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

// usableSnapshot is the snapshot to copy, observed once more.
func (s *step) usableSnapshot(ctx context.Context,
	srv inventory.Server) (inventory.Snapshot, error) {
	snap, err := s.Snapshot(ctx, s.args.Snapshot)
	if err != nil {
		return snap, err
	}
	return snap, s.Usable(ctx, snap, srv.Primary)
}

// ensureAttached gives the volume to the machine; the provider takes no token for that, so it looks
// first.
func (s *step) ensureAttached(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	switch {
	case v.State == provider.VolumeCreating:
		return s.beingMade(v)
	case v.MachineID == srv.MachineID && v.Attachment == provider.AttachmentAttached:
		return nil
	case v.MachineID == srv.MachineID && hangs(s, v):
		return attachAgain(ctx, s, srv, v)
	case v.MachineID == srv.MachineID:
		return kit.Wait("volume %s is %s%s", v.ID, v.Attachment, kit.Because(v.Reason))
	case v.MachineID != "":
		return s.attachedElsewhere(ctx, v)
	}
	_, err := s.Provider.AttachVolume(ctx, v.ID, srv.MachineID)
	if errors.Is(err, provider.ErrInUse) {
		return kit.Wait("volume %s is in use by %s", v.ID, provider.HeldBy(err)) // observed again
	}
	if err != nil {
		if gone := s.MachineFit(ctx, srv); kit.IsReason(gone, errorsv1.Reason_REASON_MACHINE_GONE) {
			return gone
		}
		return fmt.Errorf("cannot attach volume %s: %w", v.ID, err)
	}
	s.Keep(keptAttachment, attachment{v.ID, s.Now()})
	s.Changed("attached volume %s to machine %s", v.ID, srv.MachineID)
	return kit.Wait("volume %s is being attached", v.ID)
}

const keptAttachment = "attachment"

// attachment is one that this process asked for, and when by its own clock, which need not be that
// of the provider.
type attachment struct {
	volume string
	at     time.Time
}

// Close has nothing to close: what is kept is only a time.
func (attachment) Close() error { return nil }

func attachedAt(s *step, v provider.Volume) time.Time {
	kept, _ := s.Kept(keptAttachment)
	if own, is := kept.(attachment); is && own.volume == v.ID {
		return own.at
	}
	return v.AttachedAt
}

// attachLimit is longer than an attachment takes that does not hang.
const attachLimit = 3 * time.Minute

// hangs reports whether an attachment will not come about: the host may hold the device name of
// another volume still.
func hangs(s *step, v provider.Volume) bool {
	_, manual := s.OperatorCopyTime() // operators take their time
	at := attachedAt(s, v)
	return !manual && v.Attachment == provider.AttachmentAttaching && !at.IsZero() &&
		s.Now().Sub(at) > attachLimit
}

// attachAgain takes the volume off a machine to which it never came. It is attached again after
// that, under another device name.
func attachAgain(ctx context.Context, s *step, srv inventory.Server, v provider.Volume) error {
	if _, err := s.Provider.DetachVolume(ctx, v.ID, srv.MachineID); err != nil &&
		!errors.Is(err, provider.ErrIncorrectState) {
		return fmt.Errorf("cannot detach volume %s, which hangs in its attachment: %w", v.ID, err)
	}
	s.Changed("detached volume %s, which was not attached after %s", v.ID,
		s.Now().Sub(attachedAt(s, v)).Round(time.Second))
	return kit.Wait("volume %s hung in its attachment: it is attached again", v.ID)
}

// beingMade waits for a volume, but not for ever: one that hangs in its creation does so for good.
func (s *step) beingMade(v provider.Volume) error {
	_, manual := s.OperatorCopyTime() // operators take their time
	if since := s.Now().Sub(v.CreatedAt); !manual && since > s.VolumeLimit {
		return kit.Refuse(errorsv1.Reason_REASON_PROVIDER_ERROR,
			kit.Hint("have another made", kit.RedoThis(kit.StepSwapVolume)),
			"volume %s is still being made by the provider after %s", v.ID,
			since.Round(time.Second))
	}
	return kit.Wait("volume %s is being made%s", v.ID, kit.Because(v.Reason))
}

// attachedElsewhere waits for a machine of this job that is going, and refuses any other.
func (s *step) attachedElsewhere(ctx context.Context, v provider.Volume) error {
	if s.going(ctx, v.MachineID) {
		return kit.Wait("volume %s is still held by machine %s, which is going", v.ID, v.MachineID)
	}
	return kit.Refuse(errorsv1.Reason_REASON_VOLUME_ATTACHED_ELSEWHERE,
		kit.Hint("detach it there", kit.RetryThis()),
		"volume %s is attached to machine %s", v.ID, v.MachineID)
}

// going reports whether a machine is one of this job's that is being ended.
func (s *step) going(ctx context.Context, machine string) bool {
	m, err := s.Provider.GetMachine(ctx, machine)
	return err == nil && m.Tags[kit.TagJob] == s.JobID &&
		(m.State == provider.MachineStopping || m.State == provider.MachineTerminated)
}

// seenByHost waits until the host has the volume's device.
func (s *step) seenByHost(ctx context.Context, srv inventory.Server, v provider.Volume) error {
	agent, err := s.Agent(ctx, srv.Name)
	if err != nil {
		return err
	}
	devices, err := agent.BlockDevices(ctx)
	if err != nil {
		return err
	}
	names := s.Provider.DeviceNames(v.ID)
	for _, d := range devices {
		if kit.Overlap(d.IDs, names) {
			s.Found("the host sees volume %s as %s, %s", v.ID, d.Path, kit.Size(d.SizeBytes))
			return nil
		}
	}
	return kit.Wait("the host does not see volume %s yet", v.ID)
}

// recordVolume records the server's own volume, and that its datadir belongs on it.
func (s *step) recordVolume(srv inventory.Server, v provider.Volume) kit.Commit {
	id := kit.VolumeID(s.EffectKey)
	return func(ctx context.Context, rec kit.Records) error {
		vol, err := rec.Volumes.Get(ctx, id)
		switch {
		case kit.Missing(err):
			vol = inventory.Volume{
				ID: id, Provider: srv.Provider, ProviderID: v.ID, SizeBytes: v.SizeBytes,
				Zone: v.Zone, MachineID: srv.MachineID,
				Server: srv.Name, Snapshot: s.provenance(v), State: inventory.VolumeAttached,
				Job: s.JobID, EffectKey: s.EffectKey,
			}
			err = rec.Volumes.Insert(ctx, &vol)
		case err == nil && (vol.MachineID != srv.MachineID ||
			vol.State != inventory.VolumeAttached):
			vol.ProviderID, vol.SizeBytes, vol.Snapshot = v.ID, v.SizeBytes, s.provenance(v)
			vol.MachineID, vol.State = srv.MachineID, inventory.VolumeAttached
			err = rec.Volumes.Update(ctx, &vol)
		}
		if err != nil {
			return err
		}
		if err := s.keepReplaced(ctx, rec, srv.Name, id); err != nil {
			return err
		}
		return s.UpdateServer(srv.Name, func(srv *inventory.Server) error {
			if srv.DataVolume != id {
				srv.DataVolume, srv.Mounts, srv.DatadirVersion = id, nil, ""
				srv.Unproved = inventory.Verification{}
			}
			return nil
		}, "volume %s is attached", v.ID)(ctx, rec)
	}
}

// keepReplaced records that the server's volume of an earlier generation is attached to nothing: it
// is kept until the server is READY on the new one.
func (s *step) keepReplaced(ctx context.Context, rec kit.Records, server, id string) error {
	srv, err := rec.Servers.Get(ctx, server)
	if err != nil || srv.DataVolume == id || srv.DataVolume == "" {
		return err
	}
	vol, err := rec.Volumes.Get(ctx, srv.DataVolume)
	if err != nil {
		return err
	}
	vol.State, vol.MachineID = inventory.VolumeAvailable, ""
	return rec.Volumes.Update(ctx, &vol)
}

func (s *step) provenance(v provider.Volume) string {
	if v.SnapshotID == "" {
		return ""
	}
	return s.args.Snapshot
}
