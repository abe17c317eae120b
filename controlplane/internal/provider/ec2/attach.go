package ec2

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// AttachVolume gives the volume to an instance under a device name that is free there.
func (p *Provider) AttachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	var none provider.Volume
	before, err := p.volume(ctx, id)
	if err != nil {
		return none, err
	}
	machine, err := p.instance(ctx, machineID)
	if err != nil {
		return none, err
	}
	if s := machineState(machine); s != provider.MachineRunning && s != provider.MachineStopped {
		return none, provider.Errorf(provider.ErrIncorrectState, machineID,
			"machine %s cannot be given a volume: it is %s", machineID, s)
	}
	out, err := p.attachSomewhere(ctx, id, machine)
	if err != nil {
		return none, p.heldBy(ctx, id, p.new.unknownYet(err, id, machineID))
	}
	// The answer is newer than what a look would show now.
	shown := toVolume(before)
	shown.State = provider.VolumeInUse
	attach(&shown, types.VolumeAttachment{InstanceId: out.InstanceId, State: out.State,
		DeleteOnTermination: out.DeleteOnTermination})
	return shown, nil
}

// attachSomewhere tries one name after another: a name that looks free may have been taken a moment
// ago.
func (p *Provider) attachSomewhere(ctx context.Context, id string,
	machine types.Instance) (*ec2.AttachVolumeOutput, error) {
	machineID := aws.ToString(machine.InstanceId)
	for _, device := range p.letters.free(ctx, p.account, machine) {
		out, err := p.api.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: aws.String(id),
			InstanceId: aws.String(machineID), Device: aws.String(device)}, once)
		if deviceTaken(err) {
			continue
		}
		p.letters.note(machineID, device)
		if err == nil || lost(err) {
			p.new.note(attachment(id, machineID), nil)
		}
		if lost(err) {
			return p.attachedAfterAll(ctx, id, machineID, err)
		}
		return out, refused(p.judged(ctx, err, "AttachVolume", id, machineID), "AttachVolume", id)
	}
	return nil, provider.Errorf(provider.ErrLimitExceeded, machineID,
		"machine %s has no free device name for volume %s: detach a volume", machineID, id)
}

// attachedAfterAll looks whether a call without an answer had its effect.
func (p *Provider) attachedAfterAll(ctx context.Context, id, machineID string,
	cause error) (*ec2.AttachVolumeOutput, error) {
	v, err := p.volume(ctx, id)
	if err == nil && len(v.Attachments) > 0 &&
		aws.ToString(v.Attachments[0].InstanceId) == machineID {
		a := v.Attachments[0]
		p.cfg.Log.Info("the answer was lost, the volume is attached", "volume", id, "machine",
			machineID)
		return &ec2.AttachVolumeOutput{InstanceId: a.InstanceId, State: a.State,
			DeleteOnTermination: a.DeleteOnTermination}, nil
	}
	return nil, refused(cause, "AttachVolume", id)
}

func deviceTaken(err error) bool {
	return codeOf(err) == "InvalidParameterValue" && strings.Contains(err.Error(), "already in use")
}

// DetachVolume detaches the volume from the instance.
func (p *Provider) DetachVolume(ctx context.Context, id,
	machineID string) (provider.Volume, error) {
	var none provider.Volume
	before, err := p.volume(ctx, id)
	if err != nil {
		return none, err
	}
	if err := checkID(machineID, "i"); err != nil {
		return none, notAttached(err, id, machineID)
	}
	var out *ec2.DetachVolumeOutput
	if err := p.new.patiently(ctx, func() (err error) {
		out, err = p.detach(ctx, id, machineID)
		return err
	}); err != nil {
		return none, err
	}
	p.new.forget(attachment(id, machineID))
	shown := toVolume(before)
	shown.State = provider.VolumeInUse
	attach(&shown, types.VolumeAttachment{InstanceId: out.InstanceId, State: out.State,
		DeleteOnTermination: out.DeleteOnTermination})
	return shown, nil
}

// detach asks for it once. That the volume is not attached EC2 may say of an attachment that it
// does not know yet.
func (p *Provider) detach(ctx context.Context, id,
	machineID string) (*ec2.DetachVolumeOutput, error) {
	out, err := p.api.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(id),
		InstanceId: aws.String(machineID)})
	detached := codeOf(err) == "IncorrectState" || codeOf(err) == "InvalidAttachment.NotFound"
	switch {
	case detached && p.new.isNew(attachment(id, machineID)):
		return nil, late(err, "EC2 may not know yet that volume %s is attached to machine %s", id,
			machineID)
	case detached:
		return nil, notAttached(err, id, machineID)
	}
	err = refused(p.judged(ctx, err, "DetachVolume", id, machineID), "DetachVolume", id)
	return out, p.new.unknownYet(err, id, machineID)
}

func notAttached(cause error, id, machineID string) error {
	return provider.Because(cause, provider.ErrIncorrectState, id,
		"volume %s is not attached to machine %.40q", id, machineID)
}

// attachment is what recent knows an attachment by.
func attachment(volume, machine string) string { return volume + " at " + machine }
