package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// looks are the calls that describe.
func (t *tryout) looks() []trial {
	calls := t.p.api
	return []trial{
		{action: "DescribeAvailabilityZones", call: func(ctx context.Context) error {
			_, err := calls.DescribeAvailabilityZones(ctx,
				&ec2.DescribeAvailabilityZonesInput{DryRun: yes})
			return err
		}},
		{action: "DescribeImages", call: func(ctx context.Context) error {
			_, err := calls.DescribeImages(ctx,
				&ec2.DescribeImagesInput{DryRun: yes, Owners: []string{"self"}})
			return err
		}},
		{action: "DescribeInstanceTypes", call: func(ctx context.Context) error {
			_, err := calls.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{DryRun: yes})
			return err
		}},
		{action: "DescribeInstances", call: func(ctx context.Context) error {
			_, err := calls.DescribeInstances(ctx, &ec2.DescribeInstancesInput{DryRun: yes})
			return err
		}},
		{action: "DescribeVolumes", call: func(ctx context.Context) error {
			_, err := calls.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{DryRun: yes})
			return err
		}},
		{action: "DescribeVolumesModifications", call: func(ctx context.Context) error {
			_, err := calls.DescribeVolumesModifications(ctx,
				&ec2.DescribeVolumesModificationsInput{DryRun: yes})
			return err
		}},
		{action: "DescribeSnapshots", call: func(ctx context.Context) error {
			_, err := calls.DescribeSnapshots(ctx,
				&ec2.DescribeSnapshotsInput{DryRun: yes, OwnerIds: []string{"self"}})
			return err
		}},
	}
}

// launches are one launch in each zone. Without an image, or a place, there is nothing to launch:
// that is said elsewhere.
func (t *tryout) launches(ctx context.Context) []trial {
	images, err := t.p.Images(ctx)
	if err != nil {
		return nil
	}
	for _, i := range images {
		input, zones, err := t.p.launchInput(ctx, &provider.CreateMachineRequest{
			ClientToken: checkName, Name: checkName, Image: i.Name, OtherZones: true})
		if err != nil {
			continue
		}
		var trials []trial
		for _, zone := range zones {
			in := *input
			in.DryRun = yes
			t.p.cfg.place(&in, zone)
			trials = append(trials, trial{"RunInstances", func(ctx context.Context) error {
				_, err := t.p.api.RunInstances(ctx, &in)
				return err
			}, true})
		}
		return trials
	}
	return t.on("", trial{action: "RunInstances"})
}

// makings are a blank volume, and one of a snapshot.
func (t *tryout) makings(ctx context.Context) []trial {
	zone, err := t.p.zone(ctx, "")
	if err != nil {
		return nil // said elsewhere
	}
	volume := func(snapshot string) trial {
		return trial{action: "CreateVolume", call: func(ctx context.Context) error {
			in := t.p.volumeInput(provider.CreateVolumeRequest{ClientToken: checkName, Zone: zone,
				SizeBytes: 100 * gib, Type: t.p.cfg.VolumeType, SnapshotID: snapshot})
			in.DryRun = yes
			_, err := t.p.api.CreateVolume(ctx, in)
			return err
		}}
	}
	return append([]trial{volume("")}, t.on(t.snapshot, volume(t.snapshot))...)
}

func (t *tryout) ofMachine() []trial {
	calls, ids := t.p.api, []string{t.machine}
	return t.on(t.machine,
		trial{action: "StartInstances", call: func(ctx context.Context) error {
			_, err := calls.StartInstances(ctx,
				&ec2.StartInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		trial{action: "StopInstances", call: func(ctx context.Context) error {
			_, err := calls.StopInstances(ctx,
				&ec2.StopInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		trial{action: "RebootInstances", call: func(ctx context.Context) error {
			_, err := calls.RebootInstances(ctx,
				&ec2.RebootInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		trial{action: "TerminateInstances", call: func(ctx context.Context) error {
			_, err := calls.TerminateInstances(ctx,
				&ec2.TerminateInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		trial{action: "ModifyInstanceMetadataOptions", call: func(ctx context.Context) error {
			_, err := calls.ModifyInstanceMetadataOptions(ctx,
				&ec2.ModifyInstanceMetadataOptionsInput{DryRun: yes,
					InstanceId: aws.String(t.machine)})
			return err
		}})
}

func (t *tryout) ofVolume() []trial {
	calls, volume, instance := t.p.api, aws.String(t.volume), t.machine
	trials := t.on(t.volume,
		trial{action: "CreateTags", call: func(ctx context.Context) error {
			_, err := calls.CreateTags(ctx, &ec2.CreateTagsInput{DryRun: yes,
				Resources: []string{t.volume},
				Tags:      toTags(map[string]string{tagRequest: checkName})})
			return err
		}},
		trial{action: "ModifyVolume", call: func(ctx context.Context) error {
			_, err := calls.ModifyVolume(ctx, &ec2.ModifyVolumeInput{DryRun: yes, VolumeId: volume,
				Size: aws.Int32(100)})
			return err
		}},
		trial{action: "DeleteVolume", call: func(ctx context.Context) error {
			_, err := calls.DeleteVolume(ctx, &ec2.DeleteVolumeInput{DryRun: yes, VolumeId: volume})
			return err
		}},
		trial{action: "CreateSnapshot", call: func(ctx context.Context) error {
			in := t.p.snapshotInput(provider.CreateSnapshotRequest{VolumeID: t.volume})
			in.DryRun = yes
			_, err := calls.CreateSnapshot(ctx, in)
			return err
		}})
	if t.volume == "" {
		instance = ""
	}
	return append(trials, t.on(instance,
		trial{action: "AttachVolume", call: func(ctx context.Context) error {
			_, err := calls.AttachVolume(ctx, &ec2.AttachVolumeInput{DryRun: yes, VolumeId: volume,
				InstanceId: aws.String(instance), Device: aws.String("/dev/sdf")})
			return err
		}},
		trial{action: "DetachVolume", call: func(ctx context.Context) error {
			_, err := calls.DetachVolume(ctx, &ec2.DetachVolumeInput{DryRun: yes, VolumeId: volume,
				InstanceId: aws.String(instance)})
			return err
		}})...)
}

func (t *tryout) ofSnapshot() []trial {
	return t.on(t.snapshot, trial{action: "DeleteSnapshot", call: func(ctx context.Context) error {
		_, err := t.p.api.DeleteSnapshot(ctx,
			&ec2.DeleteSnapshotInput{DryRun: yes, SnapshotId: aws.String(t.snapshot)})
		return err
	}})
}
