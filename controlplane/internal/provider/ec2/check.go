package ec2

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// What dry runs name; nothing has these IDs.
const (
	noInstance = "i-00000000000000000"
	noVolume   = "vol-00000000000000000"
	noSnapshot = "snap-00000000000000000"
	noImage    = "ami-00000000000000000"
)

type trial struct {
	action string
	call   func(ctx context.Context) error
}

// Check makes each call as a dry run, and names those that the credentials do not allow, and what
// else is missing.
func (p *Provider) Check(ctx context.Context) error {
	var missing []string
	var denied []string
	for _, t := range p.trials() {
		err := t.call(ctx)
		switch code := codeOf(err); {
		case code == "UnauthorizedOperation":
			denied = append(denied, "ec2:"+t.action)
		case errors.Is(kinds[code], provider.ErrDenied) || whyExpired(err) != "" || lost(err):
			return refused(err, t.action, "") // the others would say the same
		case throttling[code] > 0:
			return refused(err, t.action, "")
		}
	}
	if len(denied) > 0 {
		missing = append(missing, "permissions are missing: allow "+strings.Join(denied, ", ")+
			" to the control plane (docs/ec2.md has the whole policy)")
	} else {
		missing = append(missing, p.missingThings(ctx)...)
	}
	if len(missing) > 0 {
		return provider.Errorf(provider.ErrIncorrectState, "", "provider ec2 cannot work here: %s",
			strings.Join(missing, "; "))
	}
	return nil
}

func (p *Provider) missingThings(ctx context.Context) []string {
	var missing []string
	if _, err := p.zone(ctx, ""); err != nil {
		missing = append(missing, err.Error())
	}
	if err := p.cfg.placed(); err != nil {
		missing = append(missing, err.Error())
	}
	if _, err := p.suitable(ctx); err != nil {
		missing = append(missing, err.Error())
	}
	images, err := p.Images(ctx)
	switch {
	case err != nil:
		missing = append(missing, err.Error())
	case len(images) == 0:
		missing = append(missing, "no AMI of this account carries the tag "+tagImage+
			": tag one with the name that jobs shall call it by")
	}
	for _, i := range images {
		if i.Problem != "" {
			missing = append(missing, i.Problem)
		}
	}
	return missing
}

// trials are all calls, in a form that has no effect. What EC2 says of IDs that do not exist comes
// after it has looked at permissions.
func (p *Provider) trials() []trial {
	yes := aws.Bool(true)
	return append([]trial{
		{"DescribeAvailabilityZones", func(ctx context.Context) error {
			_, err := p.api.DescribeAvailabilityZones(ctx,
				&ec2.DescribeAvailabilityZonesInput{DryRun: yes})
			return err
		}},
		{"DescribeImages", func(ctx context.Context) error {
			_, err := p.api.DescribeImages(ctx,
				&ec2.DescribeImagesInput{DryRun: yes, Owners: []string{"self"}})
			return err
		}},
		{"DescribeInstanceTypes", func(ctx context.Context) error {
			_, err := p.api.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{DryRun: yes})
			return err
		}},
		{"DescribeInstances", func(ctx context.Context) error {
			_, err := p.api.DescribeInstances(ctx, &ec2.DescribeInstancesInput{DryRun: yes})
			return err
		}},
		{"DescribeVolumes", func(ctx context.Context) error {
			_, err := p.api.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{DryRun: yes})
			return err
		}},
		{"DescribeVolumesModifications", func(ctx context.Context) error {
			_, err := p.api.DescribeVolumesModifications(ctx,
				&ec2.DescribeVolumesModificationsInput{DryRun: yes})
			return err
		}},
		{"DescribeSnapshots", func(ctx context.Context) error {
			_, err := p.api.DescribeSnapshots(ctx,
				&ec2.DescribeSnapshotsInput{DryRun: yes, OwnerIds: []string{"self"}})
			return err
		}},
	}, append(p.instanceTrials(yes), p.volumeTrials(yes)...)...)
}

func (p *Provider) instanceTrials(yes *bool) []trial {
	ids := []string{noInstance}
	return []trial{
		{"RunInstances", func(ctx context.Context) error {
			_, err := p.api.RunInstances(ctx,
				&ec2.RunInstancesInput{DryRun: yes, ImageId: aws.String(p.anyImage(ctx)),
					MinCount: aws.Int32(1),
					MaxCount: aws.Int32(1), InstanceType: types.InstanceType(p.cfg.InstanceType)})
			return err
		}},
		{"StartInstances", func(ctx context.Context) error {
			_, err := p.api.StartInstances(ctx,
				&ec2.StartInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		{"StopInstances", func(ctx context.Context) error {
			_, err := p.api.StopInstances(ctx,
				&ec2.StopInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		{"RebootInstances", func(ctx context.Context) error {
			_, err := p.api.RebootInstances(ctx,
				&ec2.RebootInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		{"TerminateInstances", func(ctx context.Context) error {
			_, err := p.api.TerminateInstances(ctx,
				&ec2.TerminateInstancesInput{DryRun: yes, InstanceIds: ids})
			return err
		}},
		{"ModifyInstanceMetadataOptions", func(ctx context.Context) error {
			_, err := p.api.ModifyInstanceMetadataOptions(ctx,
				&ec2.ModifyInstanceMetadataOptionsInput{DryRun: yes,
					InstanceId: aws.String(noInstance)})
			return err
		}},
		{"CreateTags", func(ctx context.Context) error {
			_, err := p.api.CreateTags(ctx,
				&ec2.CreateTagsInput{DryRun: yes, Resources: []string{noVolume},
					Tags: toTags(map[string]string{tagFleet: p.cfg.Fleet})})
			return err
		}},
	}
}

// anyImage is one that is there, for EC2 looks at the image before it looks at permissions.
func (a *account) anyImage(ctx context.Context) string {
	if newest, err := a.newestImages(ctx, filter("tag-key", tagImage)); err == nil {
		for _, i := range newest {
			return aws.ToString(i.ImageId)
		}
	}
	return noImage
}

func (p *Provider) volumeTrials(yes *bool) []trial {
	volume, instance, snapshot := aws.String(noVolume), aws.String(noInstance),
		aws.String(noSnapshot)
	return []trial{
		{"CreateVolume", func(ctx context.Context) error {
			zone, err := p.zone(ctx, "")
			if err == nil {
				_, err = p.api.CreateVolume(ctx,
					&ec2.CreateVolumeInput{DryRun: yes, AvailabilityZone: aws.String(zone),
						Size: aws.Int32(1)})
			}
			return err
		}},
		{"AttachVolume", func(ctx context.Context) error {
			_, err := p.api.AttachVolume(ctx, &ec2.AttachVolumeInput{DryRun: yes, VolumeId: volume,
				InstanceId: instance, Device: aws.String("/dev/sdf")})
			return err
		}},
		{"DetachVolume", func(ctx context.Context) error {
			_, err := p.api.DetachVolume(ctx, &ec2.DetachVolumeInput{DryRun: yes, VolumeId: volume,
				InstanceId: instance})
			return err
		}},
		{"ModifyVolume", func(ctx context.Context) error {
			_, err := p.api.ModifyVolume(ctx, &ec2.ModifyVolumeInput{DryRun: yes, VolumeId: volume,
				Size: aws.Int32(1)})
			return err
		}},
		{"DeleteVolume", func(ctx context.Context) error {
			_, err := p.api.DeleteVolume(ctx, &ec2.DeleteVolumeInput{DryRun: yes, VolumeId: volume})
			return err
		}},
		{"CreateSnapshot", func(ctx context.Context) error {
			_, err := p.api.CreateSnapshot(ctx,
				&ec2.CreateSnapshotInput{DryRun: yes, VolumeId: volume})
			return err
		}},
		{"DeleteSnapshot", func(ctx context.Context) error {
			_, err := p.api.DeleteSnapshot(ctx,
				&ec2.DeleteSnapshotInput{DryRun: yes, SnapshotId: snapshot})
			return err
		}},
	}
}
