package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

type option = func(*ec2.Options)

// api is every call that the provider makes. The policy in policy.go allows exactly these.
type api interface {
	AttachVolume(context.Context, *ec2.AttachVolumeInput, ...option) (*ec2.AttachVolumeOutput,
		error)
	CreateSnapshot(context.Context, *ec2.CreateSnapshotInput, ...option) (*ec2.CreateSnapshotOutput,
		error)
	CreateTags(context.Context, *ec2.CreateTagsInput, ...option) (*ec2.CreateTagsOutput, error)
	CreateVolume(context.Context, *ec2.CreateVolumeInput, ...option) (*ec2.CreateVolumeOutput,
		error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...option) (*ec2.DeleteSnapshotOutput,
		error)
	DeleteVolume(context.Context, *ec2.DeleteVolumeInput, ...option) (*ec2.DeleteVolumeOutput,
		error)
	DescribeAvailabilityZones(context.Context, *ec2.DescribeAvailabilityZonesInput,
		...option) (*ec2.DescribeAvailabilityZonesOutput, error)
	DescribeImages(context.Context, *ec2.DescribeImagesInput, ...option) (*ec2.DescribeImagesOutput,
		error)
	DescribeInstanceTypes(context.Context, *ec2.DescribeInstanceTypesInput,
		...option) (*ec2.DescribeInstanceTypesOutput, error)
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput,
		...option) (*ec2.DescribeInstancesOutput, error)
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput,
		...option) (*ec2.DescribeSnapshotsOutput, error)
	DescribeVolumes(context.Context, *ec2.DescribeVolumesInput,
		...option) (*ec2.DescribeVolumesOutput, error)
	DescribeVolumesModifications(context.Context, *ec2.DescribeVolumesModificationsInput,
		...option) (*ec2.DescribeVolumesModificationsOutput, error)
	DetachVolume(context.Context, *ec2.DetachVolumeInput, ...option) (*ec2.DetachVolumeOutput,
		error)
	ModifyInstanceMetadataOptions(context.Context, *ec2.ModifyInstanceMetadataOptionsInput,
		...option) (*ec2.ModifyInstanceMetadataOptionsOutput, error)
	ModifyVolume(context.Context, *ec2.ModifyVolumeInput, ...option) (*ec2.ModifyVolumeOutput,
		error)
	RebootInstances(context.Context, *ec2.RebootInstancesInput,
		...option) (*ec2.RebootInstancesOutput, error)
	RunInstances(context.Context, *ec2.RunInstancesInput, ...option) (*ec2.RunInstancesOutput,
		error)
	StartInstances(context.Context, *ec2.StartInstancesInput, ...option) (*ec2.StartInstancesOutput,
		error)
	StopInstances(context.Context, *ec2.StopInstancesInput, ...option) (*ec2.StopInstancesOutput,
		error)
	TerminateInstances(context.Context, *ec2.TerminateInstancesInput,
		...option) (*ec2.TerminateInstancesOutput, error)
}

var _ api = (*ec2.Client)(nil)
