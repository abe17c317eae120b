package ec2

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func toVolume(v types.Volume) provider.Volume {
	tags := fromTags(v.Tags)
	_, ofImage := tags[tagOfImage]
	shown := provider.Volume{ID: aws.ToString(v.VolumeId), State: provider.VolumeState(v.State),
		SizeBytes: bytesOf(v.Size),
		Type:      string(v.VolumeType), Zone: aws.ToString(v.AvailabilityZone),
		SnapshotID: aws.ToString(v.SnapshotId),
		Default:    isDefault(v, tags), Tags: callers(tags), CreatedAt: aws.ToTime(v.CreateTime)}
	if ofImage {
		shown.SnapshotID = "" // the AMI's own, which is nobody's business here
	}
	if len(v.Attachments) > 0 {
		attach(&shown, v.Attachments[0])
	}
	return shown
}

func attach(shown *provider.Volume, a types.VolumeAttachment) {
	shown.MachineID, shown.DeleteOnTermination = aws.ToString(a.InstanceId),
		aws.ToBool(a.DeleteOnTermination)
	shown.AttachedAt = aws.ToTime(a.AttachTime)
	switch a.State {
	case types.VolumeAttachmentStateAttaching:
		shown.Attachment = provider.AttachmentAttaching
	case types.VolumeAttachmentStateAttached:
		shown.Attachment = provider.AttachmentAttached
	case types.VolumeAttachmentStateDetaching:
		shown.Attachment = provider.AttachmentDetaching
	case types.VolumeAttachmentStateBusy:
		shown.Attachment = provider.AttachmentDetaching
		shown.Reason = "machine " + shown.MachineID + " still uses it: unmount it there"
	case types.VolumeAttachmentStateDetached:
		shown.MachineID, shown.DeleteOnTermination = "", false
	}
}

// DeviceNames are the links that udev makes from the serial of the volume's NVMe device, without
// and with its namespace. A Xen instance shows no serial and has no such link: see docs/ec2.md.
func (p *Provider) DeviceNames(volumeID string) []string { return DeviceNames(volumeID) }

// DeviceNames are the names of a volume's device below /dev/disk/by-id.
func DeviceNames(volumeID string) []string {
	name := "nvme-Amazon_Elastic_Block_Store_" + strings.Replace(volumeID, "-", "", 1)
	return []string{name, name + "_1"}
}

func knownType(name string) bool {
	return slices.Contains(types.VolumeType("").Values(), types.VolumeType(name))
}

func bytesOf(gibs *int32) int64 { return int64(aws.ToInt32(gibs)) * gib }

func wholeGiB(bytes int64) int32 { return int32((bytes + gib - 1) / gib) }
