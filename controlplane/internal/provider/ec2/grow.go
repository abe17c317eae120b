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
	if err := p.new.patiently(ctx, func() error { return p.grow(ctx, id, want) }); err != nil {
		return none, err
	}
	shown.SizeBytes = int64(want) * gib
	return shown, nil
}

// grow asks for a size once. One that is under way already is as good.
func (p *Provider) grow(ctx context.Context, id string, want int32) error {
	_, err := p.api.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: aws.String(id),
		Size: aws.Int32(want)})
	if err == nil {
		return nil
	}
	last, lookErr := p.lastModification(ctx, id)
	underWay := last.ModificationState == types.VolumeModificationStateModifying ||
		last.ModificationState == types.VolumeModificationStateOptimizing
	switch {
	case lookErr == nil && aws.ToInt32(last.TargetSize) >= want &&
		last.ModificationState != types.VolumeModificationStateFailed:
		return nil
	case lookErr == nil && !underWay && codeOf(err) == "IncorrectModificationState":
		return late(err, "EC2 changes volume %s and does not show yet to what size", id)
	}
	invalid := codeOf(err) == "InvalidParameterValue"
	err = refused(p.judged(ctx, err, "ModifyVolume", id), "ModifyVolume", id)
	if invalid && lookErr == nil { // the size may be the one that it has, after a lost answer
		return perhapsLate{err}
	}
	return p.new.unknownYet(err, id)
}

// lastModification is the last change of a volume that EC2 shows; empty when it shows none.
func (a *account) lastModification(ctx context.Context,
	id string) (types.VolumeModification, error) {
	var none types.VolumeModification
	out, err := a.api.DescribeVolumesModifications(ctx,
		&ec2.DescribeVolumesModificationsInput{VolumeIds: []string{id}})
	switch {
	case codeOf(err) == "InvalidVolumeModification.NotFound":
		return none, nil
	case err != nil:
		return none, refused(err, "DescribeVolumesModifications", id)
	case len(out.VolumesModifications) == 0:
		return none, nil
	}
	return out.VolumesModifications[0], nil
}
