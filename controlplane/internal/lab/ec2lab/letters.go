package ec2lab

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// used remembers the device name of an attachment, and says whether the instance had another volume
// under it before. EC2 calls the name free, the instance's block device driver may hold it still:
// then the volume stays attaching, until it is detached or the instance boots.
// https://repost.aws/knowledge-center/ebs-stuck-attaching, kubernetes issue 31891, and
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/795
func (s *Server) used(instance, device string) bool {
	kept := s.state.instance(instance)
	if kept.Letters == nil {
		kept.Letters = map[string]bool{}
	}
	letter := string(last(device))
	before := kept.Letters[letter]
	kept.Letters[letter] = true
	return before && s.currentBehaviour().StuckLetters
}

// hang begins an attachment that stays attaching.
func (s *Server) hang(in *ec2.AttachVolumeInput) *ec2.AttachVolumeOutput {
	kept := s.state.volume(aws.ToString(in.VolumeId))
	kept.PlugInto, kept.Stuck = aws.ToString(in.InstanceId), true
	return &ec2.AttachVolumeOutput{VolumeId: in.VolumeId, InstanceId: in.InstanceId,
		Device: in.Device, State: types.VolumeAttachmentStateAttaching,
		AttachTime: aws.Time(s.cfg.Now()), DeleteOnTermination: aws.Bool(false)}
}

// unhang ends one.
func (s *Server) unhang(in *ec2.DetachVolumeInput) *ec2.DetachVolumeOutput {
	kept := s.state.volume(aws.ToString(in.VolumeId))
	instance := kept.PlugInto
	kept.PlugInto, kept.Stuck = "", false
	return &ec2.DetachVolumeOutput{VolumeId: in.VolumeId, InstanceId: aws.String(instance),
		Device: aws.String(kept.Device), State: types.VolumeAttachmentStateDetaching}
}
