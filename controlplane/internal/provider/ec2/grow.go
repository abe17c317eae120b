package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// GrowVolume makes the volume larger, in whole GiB. The size is there once EC2 calls the
// modification optimizing.
func (p *Provider) GrowVolume(ctx context.Context, id string,
	sizeBytes int64) (provider.Volume, error) {
	var none provider.Volume
	if err := provider.ValidateSize(sizeBytes); err != nil {
		return none, err
	}
	v, err := p.volume(ctx, id)
	if err != nil {
		return none, err
	}
	want, has := wholeGiB(sizeBytes), aws.ToInt32(v.Size)
	shown := toVolume(v)
	switch {
	case want < has:
		return none, provider.Errorf(provider.ErrInvalid, id,
			"volume %s has %d GiB and cannot shrink to %d", id, has, want)
	case want == has:
		return shown, nil
	}
	_, err = p.api.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: aws.String(id),
		Size: aws.Int32(want)})
	if err != nil {
		if growing, lookErr := p.growsTo(ctx, id); lookErr != nil || growing < want {
			return none, refused(p.judged(ctx, err, "ModifyVolume", id), "ModifyVolume", id)
		}
	}
	shown.SizeBytes = int64(want) * gib
	return shown, nil
}

// growsTo is the size that a modification under way leads to; 0 when there is none.
func (a *account) growsTo(ctx context.Context, id string) (int32, error) {
	out, err := a.api.DescribeVolumesModifications(ctx,
		&ec2.DescribeVolumesModificationsInput{VolumeIds: []string{id}})
	if err != nil {
		return 0, refused(err, "DescribeVolumesModifications", id)
	}
	for _, m := range out.VolumesModifications {
		if m.ModificationState != types.VolumeModificationStateFailed {
			return aws.ToInt32(m.TargetSize), nil
		}
	}
	return 0, nil
}
