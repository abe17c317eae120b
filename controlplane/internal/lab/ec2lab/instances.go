package ec2lab

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func (s *Server) describeInstances(ctx context.Context,
	in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	if len(in.InstanceIds) > 0 && in.MaxResults != nil {
		return nil, refuse("InvalidParameterCombination",
			"The parameter instancesSet cannot be used with the parameter maxResults")
	}
	for _, id := range in.InstanceIds {
		if _, err := labID("i", id); err != nil {
			return nil, err
		}
	}
	machines, err := s.cfg.Lab.ListMachines(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	out, seen := &ec2.DescribeInstancesOutput{}, 0
	for _, m := range machines {
		id := ec2ID(m.ID)
		if s.hidden(m.CreatedAt) || len(in.InstanceIds) > 0 &&
			!slices.Contains(in.InstanceIds, id) {
			continue
		}
		seen++
		shown, err := s.showInstance(ctx, m)
		if err != nil {
			return nil, err
		}
		ok, err := matches(in.Filters, m.Tags,
			map[string][]string{"instance-id": {id}, "client-token": {s.state.instance(id).Token},
				"instance-state-name": {string(shown.State.Name)}, "availability-zone": {m.Zone},
				"image-id": {s.state.instance(id).Image}})
		if err != nil {
			return nil, err
		}
		if ok {
			out.Reservations = append(out.Reservations,
				types.Reservation{ReservationId: aws.String(madeUpID("r", id)),
					OwnerId: aws.String(accountID), Instances: []types.Instance{shown}})
		}
	}
	if seen < len(in.InstanceIds) {
		return nil, notFound("i", strings.Join(in.InstanceIds, ", "))
	}
	out.Reservations, out.NextToken, err = page(out.Reservations, in.MaxResults, in.NextToken,
		s.currentBehaviour().PageSize)
	return out, err
}

func (s *Server) instance(ctx context.Context, id string) (types.Instance, error) {
	lab, err := labID("i", id)
	if err != nil {
		return types.Instance{}, err
	}
	m, err := s.cfg.Lab.GetMachine(ctx, lab)
	if err != nil {
		return types.Instance{}, translate(err, "i", id)
	}
	return s.showInstance(ctx, m)
}

func (s *Server) showInstance(ctx context.Context, m provider.Machine) (types.Instance, error) {
	id := ec2ID(m.ID)
	kept := s.state.instance(id)
	shown := types.Instance{InstanceId: aws.String(id), ImageId: aws.String(kept.Image),
		InstanceType: types.InstanceType(kept.InstanceType),
		ClientToken:  aws.String(kept.Token), State: stateOf(m.State), Tags: toTags(m.Tags),
		Architecture: types.ArchitectureValuesX8664,
		LaunchTime:   aws.Time(m.CreatedAt),
		Placement: &types.Placement{AvailabilityZone: aws.String(m.Zone),
			Tenancy: types.TenancyDefault},
		RootDeviceName: aws.String(s.rootDevice()), RootDeviceType: types.DeviceTypeEbs,
		EnaSupport: aws.Bool(true),
		MetadataOptions: &types.InstanceMetadataOptionsResponse{
			State:                   types.InstanceMetadataOptionsStateApplied,
			HttpTokens:              types.HttpTokensState(kept.Metadata.Tokens),
			HttpEndpoint:            types.InstanceMetadataEndpointState(kept.Metadata.Endpoint),
			HttpPutResponseHopLimit: aws.Int32(kept.Metadata.HopLimit)}}
	if !m.StartedAt.IsZero() {
		shown.LaunchTime = aws.Time(m.StartedAt)
	}
	shown.StateReason = stateReason(m, kept)
	if m.State == provider.MachineTerminated {
		if s.currentBehaviour().Access.EndedUntagged {
			shown.Tags = nil
		}
		return shown, nil
	}
	if kept.Public != "" {
		shown.PublicIpAddress = aws.String(kept.Public)
	}
	shown.PrivateIpAddress, shown.SubnetId = aws.String(m.Address), aws.String(Subnet(m.Zone))
	shown.NetworkInterfaces = []types.InstanceNetworkInterface{{NetworkInterfaceId: aws.String(
		madeUpID("eni", id)), PrivateIpAddress: aws.String(m.Address),
		Attachment: &types.InstanceNetworkInterfaceAttachment{AttachTime: aws.Time(m.CreatedAt),
			DeviceIndex: aws.Int32(0), Status: types.AttachmentStatusAttached}}}
	s.withoutIPv4(m.Zone, &shown)
	shown.BlockDeviceMappings = []types.InstanceBlockDeviceMapping{{DeviceName: aws.String(
		s.rootDevice()), Ebs: &types.EbsInstanceBlockDevice{
		VolumeId: aws.String(rootVolume(id)), Status: types.AttachmentStatusAttached,
		DeleteOnTermination: aws.Bool(true), AttachTime: aws.Time(m.CreatedAt)}}}
	volumes, err := s.attachedTo(ctx, id)
	for _, v := range volumes {
		a := v.Attachments[0]
		shown.BlockDeviceMappings = append(shown.BlockDeviceMappings,
			types.InstanceBlockDeviceMapping{DeviceName: a.Device,
				Ebs: &types.EbsInstanceBlockDevice{
					VolumeId: v.VolumeId, Status: types.AttachmentStatus(a.State),
					DeleteOnTermination: a.DeleteOnTermination, AttachTime: a.AttachTime}})
	}
	return shown, err
}

func stateOf(state provider.MachineState) *types.InstanceState {
	name, code := types.InstanceStateNamePending, int32(0)
	switch state {
	case provider.MachineRunning:
		name, code = types.InstanceStateNameRunning, 16
	case provider.MachineStopping:
		name, code = types.InstanceStateNameStopping, 64
	case provider.MachineStopped:
		name, code = types.InstanceStateNameStopped, 80
	case provider.MachineTerminated:
		name, code = types.InstanceStateNameTerminated, 48
	}
	return &types.InstanceState{Name: name, Code: aws.Int32(code)}
}

func (s *Server) startInstances(ctx context.Context,
	in *ec2.StartInstancesInput) (*ec2.StartInstancesOutput, error) {
	changes, err := s.change(ctx, in.InstanceIds, s.cfg.Lab.StartMachine)
	for _, c := range changes {
		s.booted(*c.InstanceId)
		if c.PreviousState.Name != types.InstanceStateNameRunning {
			s.state.instance(*c.InstanceId).Started = s.cfg.Now()
		}
	}
	return &ec2.StartInstancesOutput{StartingInstances: changes}, err
}

func (s *Server) stopInstances(ctx context.Context,
	in *ec2.StopInstancesInput) (*ec2.StopInstancesOutput, error) {
	changes, err := s.change(ctx, in.InstanceIds, s.cfg.Lab.StopMachine)
	return &ec2.StopInstancesOutput{StoppingInstances: changes}, err
}

func (s *Server) rebootInstances(ctx context.Context,
	in *ec2.RebootInstancesInput) (*ec2.RebootInstancesOutput, error) {
	changes, err := s.change(ctx, in.InstanceIds, s.cfg.Lab.RebootMachine)
	for _, c := range changes {
		s.booted(*c.InstanceId)
	}
	return &ec2.RebootInstancesOutput{}, err
}

func (s *Server) terminateInstances(ctx context.Context,
	in *ec2.TerminateInstancesInput) (*ec2.TerminateInstancesOutput, error) {
	changes, err := s.change(ctx, in.InstanceIds, s.cfg.Lab.TerminateMachine)
	return &ec2.TerminateInstancesOutput{TerminatingInstances: changes}, err
}

func (s *Server) change(ctx context.Context, ids []string,
	act func(context.Context, string) error) ([]types.InstanceStateChange, error) {
	var changes []types.InstanceStateChange
	for _, id := range ids {
		before, err := s.visibleInstance(ctx, id)
		if err != nil {
			return nil, err
		}
		lab, _ := labID("i", id) // seen by visibleInstance
		if err := act(ctx, lab); err != nil {
			return nil, translate(err, "i", id)
		}
		after, err := s.cfg.Lab.GetMachine(ctx, lab)
		if err != nil {
			return nil, translate(err, "i", id)
		}
		changes = append(changes, types.InstanceStateChange{InstanceId: aws.String(id),
			PreviousState: stateOf(before.State), CurrentState: stateOf(after.State)})
	}
	return changes, nil
}

// visibleInstance is a machine that EC2 knows of by now.
func (s *Server) visibleInstance(ctx context.Context, id string) (provider.Machine, error) {
	lab, err := labID("i", id)
	if err != nil {
		return provider.Machine{}, err
	}
	m, err := s.cfg.Lab.GetMachine(ctx, lab)
	if err == nil && s.hidden(m.CreatedAt) {
		return m, notFound("i", id)
	}
	return m, translate(err, "i", id)
}

func (s *Server) modifyMetadata(ctx context.Context,
	in *ec2.ModifyInstanceMetadataOptionsInput) (*ec2.ModifyInstanceMetadataOptionsOutput, error) {
	id := aws.ToString(in.InstanceId)
	m, err := s.visibleInstance(ctx, id)
	if err != nil {
		return nil, err
	}
	if m.State == provider.MachineTerminated {
		return nil, refuse("IncorrectInstanceState",
			"The instance '%s' is not in a state from which its options can be changed", id)
	}
	kept := s.state.instance(id)
	if in.HttpEndpoint != "" {
		kept.Metadata.Endpoint = string(in.HttpEndpoint)
	}
	if in.HttpTokens != "" {
		kept.Metadata.Tokens = string(in.HttpTokens)
	}
	return &ec2.ModifyInstanceMetadataOptionsOutput{InstanceId: in.InstanceId,
		InstanceMetadataOptions: &types.InstanceMetadataOptionsResponse{
			State:        types.InstanceMetadataOptionsStatePending,
			HttpEndpoint: types.InstanceMetadataEndpointState(kept.Metadata.Endpoint),
			HttpTokens:   types.HttpTokensState(kept.Metadata.Tokens)}}, nil
}

// Metadata is the state of an instance's metadata service, "enabled required" at first, for tests.
func (s *Server) Metadata(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.state.instance(id).Metadata
	return m.Endpoint + " " + m.Tokens
}
