package ec2lab

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	rootDevice    = "/dev/xvda"
	defaultDevice = "/dev/sdf"
	rootGiB       = 8
	accountID     = "000000000000"
)

func (s *Server) describeImages(ctx context.Context,
	in *ec2.DescribeImagesInput) (*ec2.DescribeImagesOutput, error) {
	all, err := s.images(ctx)
	if err != nil {
		return nil, err
	}
	if err := onlySelf(in.Owners); err != nil {
		return nil, err
	}
	var found []types.Image
	for _, i := range all {
		if len(in.ImageIds) > 0 && !slices.Contains(in.ImageIds, *i.ImageId) {
			continue
		}
		ok, err := matches(in.Filters, tagMap(i.Tags),
			map[string][]string{"name": {*i.Name}, "state": {string(i.State)},
				"image-id": {*i.ImageId}})
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, i)
		}
	}
	if len(in.ImageIds) > len(found) && len(in.Filters) == 0 {
		return nil, refuse("InvalidAMIID.NotFound", "The image id '%v' does not exist", in.ImageIds)
	}
	found, next, err := page(found, in.MaxResults, in.NextToken, s.currentBehaviour().PageSize)
	return &ec2.DescribeImagesOutput{Images: found, NextToken: next}, err
}

func onlySelf(owners []string) error {
	for _, o := range owners {
		if o != "self" && o != accountID {
			return refuse("InvalidUserID.Malformed", "Invalid user id: \"%s\"", o)
		}
	}
	return nil
}

// images shows the lab's images as AMIs of the account.
func (s *Server) images(ctx context.Context) ([]types.Image, error) {
	images, err := s.cfg.Lab.Images(ctx)
	if err != nil {
		return nil, err
	}
	var all []types.Image
	for _, i := range images {
		all = append(all, s.asMade(toImage(i)))
	}
	return all, nil
}

func toImage(i provider.Image) types.Image {
	state := types.ImageStatePending
	if i.Ready {
		state = types.ImageStateAvailable
	}
	tags := map[string]string{"understudy:image": i.Name, "understudy:mariadb": i.MariaDBVersion}
	if len(i.MaskedUnits) > 0 {
		tags["understudy:masked"] = strings.Join(i.MaskedUnits, " ")
	}
	image := types.Image{ImageId: aws.String(madeUpID("ami", i.Name)),
		Name: aws.String("understudy-" + i.Name), Description: aws.String(i.Description),
		State:   state,
		OwnerId: aws.String(accountID), RootDeviceName: aws.String(rootDevice),
		RootDeviceType: types.DeviceTypeEbs,
		CreationDate: aws.String(time.Date(2026, 1, 1, 0, 0, 0, 0,
			time.UTC).Format("2006-01-02T15:04:05.000Z")),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String(rootDevice),
			Ebs: &types.EbsBlockDevice{
				DeleteOnTermination: aws.Bool(true),
				SnapshotId:          aws.String(madeUpID("snap", i.Name+" root")),
				VolumeSize:          aws.Int32(rootGiB), VolumeType: types.VolumeTypeGp3}}}}
	if d := i.DefaultVolume; d != nil {
		tags["understudy:filesystem"] = d.Filesystem
		image.BlockDeviceMappings = append(image.BlockDeviceMappings,
			types.BlockDeviceMapping{DeviceName: aws.String(defaultDevice),
				Ebs: &types.EbsBlockDevice{
					// As images often have it; who wants the volume to go says so.
					DeleteOnTermination: aws.Bool(false),
					SnapshotId:          aws.String(dataSnapshot(i.Name)),
					VolumeSize:          gibs(d.SizeBytes), VolumeType: types.VolumeTypeGp3}})
	}
	image.Tags = toTags(tags)
	return image
}

func dataSnapshot(image string) string { return madeUpID("snap", image+" data") }

func (s *Server) describeZones(ctx context.Context,
	in *ec2.DescribeAvailabilityZonesInput) (*ec2.DescribeAvailabilityZonesOutput, error) {
	out := &ec2.DescribeAvailabilityZonesOutput{}
	for _, zone := range Zones() {
		ok, err := matches(in.Filters, nil,
			map[string][]string{"zone-name": {zone}, "state": {"available"},
				"zone-type": {"availability-zone"}, "region-name": {Region}})
		if err != nil {
			return nil, err
		}
		if ok {
			out.AvailabilityZones = append(out.AvailabilityZones,
				types.AvailabilityZone{ZoneName: aws.String(zone), RegionName: aws.String(Region),
					State:    types.AvailabilityZoneStateAvailable,
					ZoneType: aws.String("availability-zone"),
					ZoneId:   aws.String("labz-" + zone[len(zone)-1:])})
		}
	}
	return out, nil
}

func (s *Server) createTags(ctx context.Context,
	in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	tags, err := checkTags(in.Tags)
	if err != nil {
		return nil, err
	}
	for _, id := range in.Resources {
		kind, _, _ := strings.Cut(id, "-")
		if !slices.Contains([]string{"i", "vol", "snap"}, kind) {
			return nil, refuse("InvalidID", "The ID '%s' is not valid", id)
		}
		lab, err := labID(kind, id)
		if err != nil {
			return nil, err
		}
		if err := s.cfg.Lab.SetTags(ctx, lab, tags); err != nil {
			return nil, translate(err, kind, id)
		}
	}
	return &ec2.CreateTagsOutput{}, nil
}

func tagMap(list []types.Tag) map[string]string {
	tags := map[string]string{}
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}

func gibs(bytes int64) *int32 { return aws.Int32(int32((bytes + 1<<30 - 1) >> 30)) }
