package ec2lab

import (
	"context"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

var devicePattern = regexp.MustCompile(`^/dev/(sd[b-z]|xvd[b-z])$`)

func (s *Server) attachVolume(ctx context.Context,
	in *ec2.AttachVolumeInput) (*ec2.AttachVolumeOutput, error) {
	id, instance, device := aws.ToString(in.VolumeId), aws.ToString(in.InstanceId),
		aws.ToString(in.Device)
	v, err := s.visibleVolume(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := s.visibleInstance(ctx, instance)
	if err != nil {
		return nil, err
	}
	shown := s.showVolume(v)
	switch {
	case s.plugging(id) || v.MachineID != "":
		return nil, refuse("VolumeInUse", "%s is already attached to an instance", id)
	case shown.State != types.VolumeStateAvailable && shown.State != types.VolumeStateInUse:
		return nil, refuse("IncorrectState", "Volume '%s' is in the '%s' state.", id, shown.State)
	case m.State != provider.MachineRunning && m.State != provider.MachineStopped:
		return nil, refuse("IncorrectState", "Instance '%s' is not 'running'.", instance)
	case v.Zone != m.Zone:
		return nil, refuse("InvalidVolume.ZoneMismatch",
			"The volume '%s' is not in the same availability zone as instance '%s'", id, instance)
	case !devicePattern.MatchString(device):
		return nil, refuse("InvalidParameterValue",
			"Value (%s) for parameter device is invalid. %s is not a valid EBS device name.",
			device, device)
	}
	others, err := s.attachedTo(ctx, instance)
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		if last(*o.Attachments[0].Device) == last(device) {
			return nil, refuse("InvalidParameterValue",
				"Invalid value '%s' for unixDevice. Attachment point %s is already in use", device,
				device)
		}
	}
	if err := s.opens(id); err != nil {
		return nil, err
	}
	kept := s.state.volume(id)
	kept.Device, kept.AttachedAt = device, s.cfg.Now()
	if s.used(instance, device) {
		return s.hang(in), nil
	}
	if delay := max(s.currentBehaviour().DeviceDelay, faultOf(ctx).Slow); delay > 0 &&
		m.State == provider.MachineRunning {
		s.plugLater(id, instance, delay)
	} else if _, err := s.cfg.Lab.AttachVolume(ctx, v.ID, m.ID); err != nil {
		return nil, translate(err, "vol", id)
	}
	return &ec2.AttachVolumeOutput{VolumeId: in.VolumeId, InstanceId: in.InstanceId,
		Device: in.Device, State: types.VolumeAttachmentStateAttaching,
		AttachTime: aws.Time(s.cfg.Now()), DeleteOnTermination: aws.Bool(false)}, nil
}

func last(device string) byte { return device[len(device)-1] }

// plugLater lets the device appear on the host after a while, when EC2 has long called it attached.
func (s *Server) plugLater(id, instance string, delay time.Duration) {
	kept := s.state.volume(id)
	kept.PlugInto, kept.PlugAt = instance, s.cfg.Now().Add(delay)
	time.AfterFunc(delay, func() { s.plugOrWait(id, instance) })
}

func (s *Server) plugging(id string) bool {
	return s.state.Volumes[id] != nil && s.state.Volumes[id].PlugInto != ""
}

// plugOrWait waits for a machine that is on its way up or down.
func (s *Server) plugOrWait(id, instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.plugging(id) || s.state.volume(id).PlugInto != instance {
		return
	}
	lab, _ := labID("i", instance) // attachVolume has seen it
	m, err := s.cfg.Lab.GetMachine(context.Background(), lab)
	if err == nil && (m.State == provider.MachinePending || m.State == provider.MachineStopping) {
		time.AfterFunc(plugAgain, func() { s.plugOrWait(id, instance) })
		return
	}
	s.plugNow(context.Background(), id)
}

const plugAgain = 100 * time.Millisecond

func (s *Server) plugNow(ctx context.Context, id string) {
	kept := s.state.volume(id)
	volume, err := labID("vol", id)
	if err == nil {
		var machine string
		if machine, err = labID("i", kept.PlugInto); err == nil {
			_, err = s.cfg.Lab.AttachVolume(ctx, volume, machine)
		}
	}
	if err != nil {
		s.cfg.Log.Warn("the device does not appear", "volume", id, "instance", kept.PlugInto,
			"error", err)
	}
	kept.PlugInto = ""
}

func (s *Server) detachVolume(ctx context.Context,
	in *ec2.DetachVolumeInput) (*ec2.DetachVolumeOutput, error) {
	id := aws.ToString(in.VolumeId)
	if isRootVolume(id) {
		return nil, refuse("OperationNotPermitted",
			"Unable to detach root volume '%s' from instance", id)
	}
	v, err := s.visibleVolume(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.state.volume(id).Stuck {
		return s.unhang(in), nil
	}
	if s.plugging(id) {
		s.plugNow(ctx, id)
		if v, err = s.visibleVolume(ctx, id); err != nil {
			return nil, err
		}
	}
	if kept := s.state.volume(id); v.MachineID == "" || s.hidden(kept.AttachedAt) {
		return nil, refuse("IncorrectState", "Volume '%s' is in the 'available' state.", id)
	}
	if asked := aws.ToString(in.InstanceId); asked != "" && asked != ec2ID(v.MachineID) {
		return nil, refuse("InvalidAttachment.NotFound",
			"The volume '%s' is not attached to instance '%s'.", id, asked)
	}
	if _, err := s.cfg.Lab.DetachVolume(ctx, v.ID, v.MachineID); err != nil {
		return nil, translate(err, "vol", id)
	}
	return &ec2.DetachVolumeOutput{VolumeId: in.VolumeId,
		InstanceId: aws.String(ec2ID(v.MachineID)), Device: aws.String(s.state.volume(id).Device),
		State:               types.VolumeAttachmentStateDetaching,
		AttachTime:          aws.Time(s.state.volume(id).AttachedAt),
		DeleteOnTermination: aws.Bool(v.DeleteOnTermination)}, nil
}

// attachedTo are the volumes of an instance, without its root volume and without EC2's
// forgetfulness.
func (s *Server) attachedTo(ctx context.Context, instance string) ([]types.Volume, error) {
	volumes, err := s.cfg.Lab.ListVolumes(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	var found []types.Volume
	for _, v := range volumes {
		shown := s.trueVolume(v)
		if len(shown.Attachments) > 0 && *shown.Attachments[0].InstanceId == instance {
			found = append(found, shown)
		}
	}
	return found, nil
}
