package ec2lab

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Images is what the account's AMIs are like. Each instance gets every volume of its AMI's block
// device mapping, and the tags that RunInstances has for volumes go on all of them alike:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html and
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LaunchTemplateTagSpecification.html.
type Images struct {
	// Volumes are the device names of more volumes than the root and the data volume.
	Volumes []string
	// Root is the name of the root device, which the AMI's maker chooses (RootDeviceName); default
	// /dev/xvda. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html
	Root string
	// Tags are put on the AMIs beside the lab's.
	Tags map[string]string
	// Architecture is that of the AMIs; default x86_64.
	Architecture types.ArchitectureValues
}

// extraGiB is the size of the volumes of Images.Volumes.
const extraGiB = 1

func (s *Server) rootDevice() string {
	return cmp.Or(s.currentBehaviour().Images.Root, rootDevice)
}

// asMade changes an AMI of the lab into one of the kind that the behaviour has.
func (s *Server) asMade(image types.Image) types.Image {
	like := s.currentBehaviour().Images
	image.RootDeviceName = aws.String(s.rootDevice())
	image.BlockDeviceMappings[0].DeviceName = image.RootDeviceName
	image.Architecture = cmp.Or(like.Architecture, types.ArchitectureValuesX8664)
	for _, device := range like.Volumes {
		image.BlockDeviceMappings = append(image.BlockDeviceMappings,
			types.BlockDeviceMapping{DeviceName: aws.String(device), Ebs: &types.EbsBlockDevice{
				SnapshotId: aws.String(madeUpID("snap", *image.Name+device)),
				VolumeSize: aws.Int32(extraGiB), VolumeType: types.VolumeTypeGp3}})
	}
	tags := tagMap(image.Tags)
	maps.Copy(tags, like.Tags)
	image.Tags = toTags(tags)
	return image
}

// addVolumes gives a new instance the volumes that its AMI has and the lab's image has not.
func (s *Server) addVolumes(ctx context.Context, m provider.Machine, tags map[string]string,
	in *ec2.RunInstancesInput) error {
	for _, device := range s.currentBehaviour().Images.Volumes {
		v, err := s.cfg.Lab.CreateVolume(ctx, provider.CreateVolumeRequest{
			ClientToken: digest(m.ID + device)[:40], SizeBytes: extraGiB << 30, Zone: m.Zone,
			Tags: tags})
		if err != nil {
			return err
		}
		if _, err := s.cfg.Lab.AttachVolume(ctx, v.ID, m.ID); err != nil {
			return err
		}
		at := slices.IndexFunc(in.BlockDeviceMappings, func(b types.BlockDeviceMapping) bool {
			return aws.ToString(b.DeviceName) == device
		})
		s.state.Volumes[ec2ID(v.ID)] = &volumeState{Device: device,
			Type: string(types.VolumeTypeGp3), AttachedAt: s.cfg.Now(), OfImage: true,
			Encrypted: s.encryptImage(device, in),
			GoesToo: at >= 0 && in.BlockDeviceMappings[at].Ebs != nil &&
				aws.ToBool(in.BlockDeviceMappings[at].Ebs.DeleteOnTermination)}
	}
	return nil
}
