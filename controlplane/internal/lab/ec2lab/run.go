package ec2lab

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// defaultHost is the host name of an instance whose user data give it none.
const defaultHost = "ip-10-0-0-1"

func (s *Server) runInstances(ctx context.Context,
	in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	hash := hashOf(in)
	if id, err := s.instanceOf(ctx, in); err != nil || id != "" {
		if err != nil {
			return nil, err
		}
		return s.ran(ctx, id)
	}
	image, err := s.checkRun(ctx, in)
	if err != nil {
		return nil, err
	}
	zone, err := s.zoneOf(in)
	if err != nil {
		return nil, err
	}
	if err := s.hasCapacity(zone, in.InstanceType); err != nil {
		return nil, err
	}
	tags, err := tagsFor(in.TagSpecifications, types.ResourceTypeInstance, types.ResourceTypeVolume)
	if err != nil {
		return nil, err
	}
	volumeTags, err := tagsFor(in.TagSpecifications, types.ResourceTypeVolume,
		types.ResourceTypeInstance)
	if err != nil {
		return nil, err
	}
	if err := checkUserData(aws.ToString(in.UserData)); err != nil {
		return nil, err
	}
	config := readUserData(aws.ToString(in.UserData))
	m, err := s.cfg.Lab.CreateMachine(ctx,
		provider.CreateMachineRequest{ClientToken: digest(aws.ToString(in.ClientToken))[:40],
			Name:  cmp.Or(config.Hostname, defaultHost),
			Image: tagMap(image.Tags)["understudy:image"], Zone: zone, Tags: tags,
			UserData: []byte(config.join())})
	if err != nil {
		return nil, translate(err, "i", "")
	}
	id := ec2ID(m.ID)
	s.state.Instances[id] = &instanceState{Token: aws.ToString(in.ClientToken), Hash: hash,
		Image: *image.ImageId, InstanceType: string(in.InstanceType),
		Subnet: aws.ToString(in.SubnetId), VolumeTags: volumeTags,
		Metadata: metadataOf(in.MetadataOptions), UserData: aws.ToString(in.UserData),
		CreatedAt: s.cfg.Now(), Public: publicAddress(in), Credits: creditsOf(in),
		Encrypted: s.encryptImage(s.rootDevice(), in), KMSKey: s.imageKey(in),
		Root: cloudInit{Host: defaultHost}}
	s.booted(id)
	if err := s.tagDefaults(ctx, m.ID, volumeTags, image, in); err != nil {
		return nil, err
	}
	if err := s.addVolumes(ctx, m, volumeTags, in); err != nil {
		return nil, err
	}
	out, err := s.ran(ctx, id)
	if err != nil {
		return nil, err
	}
	return out, s.endLaunch(ctx, m, out)
}

func (s *Server) ran(ctx context.Context, id string) (*ec2.RunInstancesOutput, error) {
	instance, err := s.instance(ctx, id)
	if err != nil {
		return nil, err
	}
	return &ec2.RunInstancesOutput{ReservationId: aws.String(madeUpID("r", id)),
		OwnerId: aws.String(accountID), Instances: []types.Instance{instance}}, nil
}

// checkRun looks at what the lab does not.
func (s *Server) checkRun(ctx context.Context, in *ec2.RunInstancesInput) (types.Image, error) {
	var none types.Image
	images, err := s.images(ctx)
	if err != nil {
		return none, err
	}
	at := slices.IndexFunc(images,
		func(i types.Image) bool { return *i.ImageId == aws.ToString(in.ImageId) })
	if at < 0 || images[at].State != types.ImageStateAvailable {
		return none, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist",
			aws.ToString(in.ImageId))
	}
	if aws.ToInt32(in.MinCount) != 1 || aws.ToInt32(in.MaxCount) != 1 {
		return none, refuse("InvalidParameterValue", "The lab runs one instance at a time")
	}
	for _, m := range in.BlockDeviceMappings {
		if !slices.ContainsFunc(images[at].BlockDeviceMappings,
			func(o types.BlockDeviceMapping) bool {
				return *o.DeviceName == aws.ToString(
					m.DeviceName)
			}) {
			return none, refuse("MissingParameter",
				"The request must contain the parameter size or snapshotId for %s",
				aws.ToString(m.DeviceName))
		}
	}
	return images[at], nil
}

func (s *Server) zoneOf(in *ec2.RunInstancesInput) (string, error) {
	if id := aws.ToString(in.SubnetId); id != "" {
		for _, zone := range Zones() {
			if id == Subnet(zone) {
				return zone, nil
			}
		}
		return "", refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
	}
	if in.Placement == nil || in.Placement.AvailabilityZone == nil {
		return Zones()[0], nil
	}
	if zone := *in.Placement.AvailabilityZone; slices.Contains(Zones(), zone) {
		return zone, nil
	}
	return "", refuse("InvalidParameterValue", "Invalid availability zone: [%s]",
		*in.Placement.AvailabilityZone)
}

// Subnets are the lab's subnets by zone.
func Subnets() map[string]string {
	byZone := map[string]string{}
	for _, zone := range Zones() {
		byZone[zone] = Subnet(zone)
	}
	return byZone
}

// Subnet is the lab's subnet in a zone.
func Subnet(zone string) string { return madeUpID("subnet", zone) }

// tagDefaults tags the volume that came with the machine, and knows its device.
func (s *Server) tagDefaults(ctx context.Context, machine string, tags map[string]string,
	image types.Image, in *ec2.RunInstancesInput) error {
	volumes, err := s.cfg.Lab.ListVolumes(ctx, provider.Filter{MachineID: machine})
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if len(tags) > 0 {
			if err := s.cfg.Lab.SetTags(ctx, v.ID, tags); err != nil {
				return err
			}
		}
		kept := s.state.volume(ec2ID(v.ID))
		kept.Device, kept.Type, kept.AttachedAt = defaultDevice, string(types.VolumeTypeGp3),
			s.cfg.Now()
		s.used(ec2ID(machine), defaultDevice)
		kept.Encrypted, kept.KMSKey = s.encryptImage(defaultDevice, in), s.imageKey(in)
	}
	for _, m := range in.BlockDeviceMappings {
		if *m.DeviceName == defaultDevice &&
			(m.Ebs == nil || !aws.ToBool(m.Ebs.DeleteOnTermination)) {
			return refuse("InvalidParameterValue",
				"The lab always deletes an image's volume with its instance: ask for that")
		}
	}
	if len(image.BlockDeviceMappings) > 1 && len(in.BlockDeviceMappings) < 2 {
		return refuse("InvalidParameterValue", "The lab always deletes an image's volume with "+
			"its instance: say so in BlockDeviceMapping")
	}
	return nil
}

func metadataOf(o *types.InstanceMetadataOptionsRequest) metadataState {
	m := metadataState{Endpoint: "enabled", Tokens: "optional", HopLimit: 1}
	if o == nil {
		return m
	}
	if o.HttpEndpoint != "" {
		m.Endpoint = string(o.HttpEndpoint)
	}
	if o.HttpTokens != "" {
		m.Tokens = string(o.HttpTokens)
	}
	if o.HttpPutResponseHopLimit != nil {
		m.HopLimit = *o.HttpPutResponseHopLimit
	}
	return m
}

// hashOf tells requests apart, the user data included, as EC2 does.
func hashOf(in any) string {
	data, _ := json.Marshal(in) // plain structures
	return digest(string(data))
}
