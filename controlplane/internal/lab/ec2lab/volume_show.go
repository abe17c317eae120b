package ec2lab

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const attachTime = 150 * time.Millisecond

// showVolume is a volume as describes show it: an attachment shows after a while only.
func (s *Server) showVolume(v provider.Volume) types.Volume {
	shown := s.trueVolume(v)
	kept := s.state.volume(ec2ID(v.ID))
	if len(shown.Attachments) > 0 && !v.Default && !kept.OfImage &&
		s.hidden(kept.AttachedAt) &&
		v.Attachment != provider.AttachmentDetaching {
		shown.State, shown.Attachments = types.VolumeStateAvailable, nil
	}
	return shown
}

// trueVolume is a volume as it is.
func (s *Server) trueVolume(v provider.Volume) types.Volume {
	id := ec2ID(v.ID)
	kept := s.state.volume(id)
	shown := types.Volume{VolumeId: aws.String(id), State: types.VolumeState(v.State),
		Size: gibs(v.SizeBytes), VolumeType: types.VolumeType(kept.Type),
		Encrypted: aws.Bool(kept.Encrypted), AvailabilityZone: aws.String(v.Zone),
		CreateTime: aws.Time(v.CreatedAt), Tags: toTags(v.Tags)}
	if kept.IOPS > 0 {
		shown.Iops = aws.Int32(kept.IOPS)
	}
	if kept.Throughput > 0 {
		shown.Throughput = aws.Int32(kept.Throughput)
	}
	if kept.KMSKey != "" {
		shown.KmsKeyId = aws.String(kept.KMSKey)
	}
	if v.SnapshotID != "" {
		shown.SnapshotId = aws.String(ec2ID(v.SnapshotID))
	}
	if v.Default {
		shown.SnapshotId = aws.String(dataSnapshot(""))
	}
	switch {
	case s.underWay(kept.Begun):
		shown.State = types.VolumeStateCreating
	case s.failed(kept.Begun):
		shown.State = types.VolumeStateError
	}
	if m := kept.Modified; m != nil && s.modifying(m) {
		shown.Size = aws.Int32(m.From)
	}
	s.showAttachment(&shown, v, kept)
	return shown
}

func (s *Server) showAttachment(shown *types.Volume, v provider.Volume, kept *volumeState) {
	a := types.VolumeAttachment{VolumeId: shown.VolumeId, Device: aws.String(kept.Device),
		AttachTime:          aws.Time(kept.AttachedAt),
		DeleteOnTermination: aws.Bool(v.DeleteOnTermination || kept.GoesToo)}
	switch {
	case kept.PlugInto != "" && v.MachineID == "":
		a.InstanceId, a.State = aws.String(kept.PlugInto), types.VolumeAttachmentStateAttached
		if kept.Stuck || s.cfg.Now().Sub(kept.AttachedAt) < attachTime {
			a.State = types.VolumeAttachmentStateAttaching
		}
		shown.State = types.VolumeStateInUse
	case v.MachineID != "":
		a.InstanceId, a.State = aws.String(ec2ID(v.MachineID)),
			types.VolumeAttachmentState(v.Attachment)
		if v.Attachment == provider.AttachmentDetaching {
			a.State = types.VolumeAttachmentStateBusy
		}
	default:
		return
	}
	shown.Attachments = []types.VolumeAttachment{a}
}
