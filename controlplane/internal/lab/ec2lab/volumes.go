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

// hidden says that the call does not know of what was made at that time.
func (s *Server) hidden(made time.Time) bool { return s.cfg.Now().Sub(made) < s.lag() }

func (s *Server) lag() time.Duration {
	b := s.currentBehaviour()
	if lag, own := b.Lags[s.acting]; own {
		return lag
	}
	return b.Consistency
}

func (s *Server) createVolume(ctx context.Context,
	in *ec2.CreateVolumeInput) (*ec2.CreateVolumeOutput, error) {
	if err := s.withinQuota(ctx); err != nil {
		return nil, err
	}
	hash := hashOf(in)
	if token := aws.ToString(in.ClientToken); token != "" {
		for id, known := range s.state.Volumes {
			switch {
			case known.Token == token && known.Hash != hash:
				return nil, refuse("IdempotentParameterMismatch",
					"The client token '%s' was used with other parameters", token)
			case known.Token == token:
				return s.volumeOf(ctx, id)
			}
		}
	}
	tags, err := tagsFor(in.TagSpecifications, types.ResourceTypeVolume)
	if err != nil {
		return nil, err
	}
	if err := checkCreateVolume(in); err != nil {
		return nil, err
	}
	request := provider.CreateVolumeRequest{ClientToken: digest(aws.ToString(in.ClientToken) +
		hash)[:40], SizeBytes: int64(aws.ToInt32(in.Size)) << 30,
		Zone: *in.AvailabilityZone, Tags: tags}
	var shot provider.Snapshot
	if in.SnapshotId != nil {
		if shot, err = s.visibleSnapshot(ctx, *in.SnapshotId); err != nil {
			return nil, err
		}
		if b := s.state.Snapshots[*in.SnapshotId]; s.underWay(b) || s.failed(b) {
			return nil, refuse("IncorrectState", "Snapshot is in invalid state - %s",
				s.showSnapshot(shot).State)
		}
		request.SnapshotID = shot.ID
	}
	v, err := s.cfg.Lab.CreateVolume(ctx, request)
	if err != nil {
		return nil, translate(err, "vol", aws.ToString(in.SnapshotId))
	}
	encrypted, key, uses := s.encryption(in, shot)
	s.state.Volumes[ec2ID(v.ID)] = &volumeState{Token: aws.ToString(in.ClientToken), Hash: hash,
		Type: string(in.VolumeType), IOPS: aws.ToInt32(in.Iops),
		Throughput: aws.ToInt32(in.Throughput), Encrypted: encrypted, KMSKey: key,
		Begun: s.begin(ctx)}
	out, err := s.madeVolume(ctx, ec2ID(v.ID))
	if err != nil {
		return nil, err
	}
	return out, s.letVanish(ctx, v, out, uses)
}

// begin is what the call's fault has in store for what it begins; nil: nothing.
func (s *Server) begin(ctx context.Context) *begun {
	f := faultOf(ctx)
	if f.Slow == 0 && f.Fails == "" {
		return nil
	}
	return &begun{Done: s.cfg.Now().Add(f.Slow), Fails: f.Fails}
}

func (s *Server) underWay(b *begun) bool { return b != nil && s.cfg.Now().Before(b.Done) }

func (s *Server) failed(b *begun) bool { return b != nil && b.Fails != "" && !s.underWay(b) }

// checkCreateVolume looks at what goes with what.
func checkCreateVolume(in *ec2.CreateVolumeInput) error {
	if in.VolumeType == "" {
		in.VolumeType = types.VolumeTypeGp2
	}
	provisioned := slices.Contains([]types.VolumeType{types.VolumeTypeIo1, types.VolumeTypeIo2,
		types.VolumeTypeGp3}, in.VolumeType)
	switch {
	case in.AvailabilityZone == nil:
		return refuse("MissingParameter", "The request must contain the parameter zone")
	case !slices.Contains(Zones(), *in.AvailabilityZone):
		return refuse("InvalidZone.NotFound", "The zone '%s' does not exist.", *in.AvailabilityZone)
	case in.Size == nil && in.SnapshotId == nil:
		return refuse("MissingParameter", "The request must contain the parameter size/snapshot")
	case in.Size != nil && (*in.Size < 1 || *in.Size > 16384):
		return refuse("InvalidParameterValue", "Volume of %dGiB is too small or too large",
			*in.Size)
	case in.Iops != nil && !provisioned:
		return refuse("InvalidParameterCombination",
			"The parameter iops is not supported for %s volumes.", in.VolumeType)
	case in.Throughput != nil && in.VolumeType != types.VolumeTypeGp3:
		return refuse("InvalidParameterCombination",
			"The parameter throughput is not supported for %s volumes.", in.VolumeType)
	case in.KmsKeyId != nil && !aws.ToBool(in.Encrypted):
		return refuse("InvalidParameterDependency",
			"The parameter KmsKeyId requires the parameter Encrypted to be set.")
	case in.VolumeInitializationRate != nil &&
		(in.SnapshotId == nil || *in.VolumeInitializationRate < 100 ||
			*in.VolumeInitializationRate > 300):
		return refuse("InvalidParameterCombination",
			"VolumeInitializationRate needs a snapshot, and 100 to 300 MiB/s")
	}
	return nil
}

func (s *Server) madeVolume(ctx context.Context, id string) (*ec2.CreateVolumeOutput, error) {
	lab, err := labID("vol", id)
	if err != nil {
		return nil, err
	}
	got, err := s.cfg.Lab.GetVolume(ctx, lab)
	if err != nil {
		return nil, translate(err, "vol", id)
	}
	v := s.showVolume(got)
	return &ec2.CreateVolumeOutput{VolumeId: v.VolumeId, State: v.State, Size: v.Size,
		SnapshotId: v.SnapshotId, AvailabilityZone: v.AvailabilityZone, VolumeType: v.VolumeType,
		Iops: v.Iops, Throughput: v.Throughput, Encrypted: v.Encrypted, KmsKeyId: v.KmsKeyId,
		Tags: v.Tags, CreateTime: v.CreateTime}, nil
}

func (s *Server) describeVolumes(ctx context.Context,
	in *ec2.DescribeVolumesInput) (*ec2.DescribeVolumesOutput, error) {
	if len(in.VolumeIds) > 0 && in.MaxResults != nil {
		return nil, refuse("InvalidParameterCombination",
			"The parameter volumeSet cannot be used with the parameter maxResults")
	}
	for _, id := range in.VolumeIds {
		if _, err := labID("vol", id); err != nil && !isRootVolume(id) {
			return nil, err
		}
	}
	all, err := s.allVolumes(ctx)
	if err != nil {
		return nil, err
	}
	var found []types.Volume
	seen := 0
	for _, v := range all {
		if s.hidden(*v.CreateTime) || len(in.VolumeIds) > 0 &&
			!slices.Contains(in.VolumeIds, *v.VolumeId) {
			continue
		}
		seen++
		values := map[string][]string{"volume-id": {*v.VolumeId}, "status": {string(v.State)},
			"availability-zone": {*v.AvailabilityZone},
			"snapshot-id":       {aws.ToString(v.SnapshotId)}, "attachment.instance-id": {},
			"attachment.device": {}, "attachment.status": {}}
		for _, a := range v.Attachments {
			values["attachment.instance-id"], values["attachment.device"] = []string{*a.InstanceId},
				[]string{*a.Device}
			values["attachment.status"] = []string{string(a.State)}
		}
		ok, err := matches(in.Filters, tagMap(v.Tags), values)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, v)
		}
	}
	if seen < len(in.VolumeIds) {
		return nil, notFound("vol", strings.Join(in.VolumeIds, ", "))
	}
	found, next, err := page(found, in.MaxResults, in.NextToken, s.currentBehaviour().PageSize)
	return &ec2.DescribeVolumesOutput{Volumes: found, NextToken: next}, err
}

// allVolumes are the lab's, and the root volumes that its machines would have on EC2.
func (s *Server) allVolumes(ctx context.Context) ([]types.Volume, error) {
	volumes, err := s.cfg.Lab.ListVolumes(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	var all []types.Volume
	for _, v := range volumes {
		all = append(all, s.showVolume(v))
	}
	machines, err := s.cfg.Lab.ListMachines(ctx, provider.Filter{})
	for _, m := range machines {
		if m.State != provider.MachineTerminated {
			all = append(all, s.showRoot(m))
		}
	}
	return all, err
}

func (s *Server) showRoot(m provider.Machine) types.Volume {
	id := ec2ID(m.ID)
	return types.Volume{VolumeId: aws.String(rootVolume(id)), State: types.VolumeStateInUse,
		Size: aws.Int32(rootGiB), VolumeType: types.VolumeTypeGp3,
		Encrypted:        aws.Bool(s.state.instance(id).Encrypted),
		AvailabilityZone: aws.String(m.Zone), CreateTime: aws.Time(m.CreatedAt),
		SnapshotId: aws.String(madeUpID("snap", m.Image+" root")),
		Tags:       toTags(s.state.instance(id).VolumeTags),
		Attachments: []types.VolumeAttachment{{VolumeId: aws.String(rootVolume(id)),
			InstanceId: aws.String(id),
			Device:     aws.String(s.rootDevice()), State: types.VolumeAttachmentStateAttached,
			DeleteOnTermination: aws.Bool(true), AttachTime: aws.Time(m.CreatedAt)}}}
}

// visibleVolume is a volume that EC2 knows of by now.
func (s *Server) visibleVolume(ctx context.Context, id string) (provider.Volume, error) {
	lab, err := labID("vol", id)
	if err != nil {
		return provider.Volume{}, err
	}
	v, err := s.cfg.Lab.GetVolume(ctx, lab)
	if err == nil && s.hidden(v.CreatedAt) {
		return v, notFound("vol", id)
	}
	return v, translate(err, "vol", id)
}

func (s *Server) deleteVolume(ctx context.Context,
	in *ec2.DeleteVolumeInput) (*ec2.DeleteVolumeOutput, error) {
	id := aws.ToString(in.VolumeId)
	if isRootVolume(id) {
		return nil, refuse("VolumeInUse", "Volume %s is currently attached", id)
	}
	v, err := s.visibleVolume(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.plugging(id) {
		return nil, refuse("VolumeInUse", "Volume %s is currently attached", id)
	}
	return &ec2.DeleteVolumeOutput{}, translate(s.cfg.Lab.DeleteVolume(ctx, v.ID), "vol", id)
}
