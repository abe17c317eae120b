package ec2

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// StartMachine starts a stopped instance.
func (p *Provider) StartMachine(ctx context.Context, id string) error {
	return p.power(ctx, "StartInstances", id, func() error {
		_, err := p.api.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
		return err
	})
}

// StopMachine stops an instance.
func (p *Provider) StopMachine(ctx context.Context, id string) error {
	return p.power(ctx, "StopInstances", id, func() error {
		_, err := p.api.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
		return err
	})
}

// RebootMachine restarts an instance's system.
func (p *Provider) RebootMachine(ctx context.Context, id string) error {
	return p.power(ctx, "RebootInstances", id, func() error {
		_, err := p.api.RebootInstances(ctx, &ec2.RebootInstancesInput{InstanceIds: []string{id}})
		return err
	})
}

// TerminateMachine ends an instance for good.
func (p *Provider) TerminateMachine(ctx context.Context, id string) error {
	p.letters.forget(id)
	return p.power(ctx, "TerminateInstances", id, func() error {
		_, err := p.api.TerminateInstances(ctx,
			&ec2.TerminateInstancesInput{InstanceIds: []string{id}})
		return err
	})
}

// SealMachine turns the instance's metadata service off, if the configuration says so. The join
// file in it is spent by then; and cloud-init asks the service at each boot whether the machine is
// the same instance.
func (p *Provider) SealMachine(ctx context.Context, id string) error {
	if !p.cfg.SealMetadata {
		return checkID(id, "i")
	}
	return p.power(ctx, "ModifyInstanceMetadataOptions", id, func() error {
		_, err := p.api.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{
			InstanceId: aws.String(id), HttpEndpoint: types.InstanceMetadataEndpointStateDisabled})
		return err
	})
}

func (p *Provider) power(ctx context.Context, action, id string, call func() error) error {
	if err := checkID(id, "i"); err != nil {
		return err
	}
	return p.until(ctx, action, id, call)
}

func toMachine(i types.Instance) provider.Machine {
	tags := fromTags(i.Tags)
	m := provider.Machine{ID: aws.ToString(i.InstanceId), Name: tags[tagHost],
		State: machineState(i), Image: tags[tagImage],
		Address: aws.ToString(i.PrivateIpAddress), Tags: callers(tags), CreatedAt: createdAt(i),
		StartedAt: aws.ToTime(i.LaunchTime)}
	if i.Placement != nil {
		m.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	m.Reason, m.Failed = stateReason(i.StateReason)
	if m.Address == "" && aws.ToString(i.Ipv6Address) != "" && m.Reason == "" {
		m.Reason = "its subnet " + aws.ToString(i.SubnetId) + " gives IPv6 addresses alone, and " +
			"an IPv4 one is needed: give a subnet that has them (--ec2-subnets)"
	}
	if m.Image == "" {
		m.Image = aws.ToString(i.ImageId)
	}
	return m
}

func machineState(i types.Instance) provider.MachineState {
	if i.State == nil {
		return provider.MachinePending
	}
	switch i.State.Name {
	case types.InstanceStateNameRunning:
		return provider.MachineRunning
	case types.InstanceStateNameStopping, types.InstanceStateNameShuttingDown:
		return provider.MachineStopping
	case types.InstanceStateNameStopped:
		return provider.MachineStopped
	case types.InstanceStateNameTerminated:
		return provider.MachineTerminated
	}
	return provider.MachinePending
}

// createdAt is when the primary network card was plugged in, which no machine loses: the launch
// time of EC2 is that of the last start. Other cards, in whatever order, may have come later.
func createdAt(i types.Instance) time.Time {
	for _, n := range i.NetworkInterfaces {
		if a := n.Attachment; a != nil && a.AttachTime != nil && aws.ToInt32(a.DeviceIndex) == 0 {
			return *a.AttachTime
		}
	}
	return aws.ToTime(i.LaunchTime)
}
