package ec2

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const gib = int64(1) << 30

// CreateVolume makes an EBS volume. Sizes are rounded up to whole GiB.
func (p *Provider) CreateVolume(ctx context.Context,
	req provider.CreateVolumeRequest) (provider.Volume, error) {
	var none provider.Volume
	if err := req.Validate(); err != nil {
		return none, err
	}
	if req.SnapshotID != "" {
		if err := checkID(req.SnapshotID, "snap"); err != nil {
			return none, err
		}
	}
	fill(&req.Type, p.cfg.VolumeType)
	if !knownType(req.Type) {
		return none, provider.Errorf(provider.ErrInvalid, "",
			"volume type %.40q is not one of EC2's", req.Type)
	}
	var err error
	if req.Zone, err = p.zone(ctx, req.Zone); err != nil {
		return none, err
	}
	var out *ec2.CreateVolumeOutput
	err = p.until(ctx, "CreateVolume", req.SnapshotID, func() error {
		out, err = p.api.CreateVolume(ctx, p.volumeInput(req))
		return err
	})
	if mayHaveMade(err) {
		p.new.noteMaybe("vol", req.Tags)
	}
	switch {
	case errors.Is(err, provider.ErrLimitExceeded):
		return madeAtQuota(ctx, p, req, err)
	case errors.Is(err, provider.ErrTokenReused):
		return none, gaveUp(ctx, p, req, err)
	}
	if err != nil {
		return none, err
	}
	v := toVolume(types.Volume{VolumeId: out.VolumeId, State: out.State, Size: out.Size,
		VolumeType:       out.VolumeType,
		AvailabilityZone: out.AvailabilityZone, SnapshotId: out.SnapshotId, Tags: out.Tags,
		CreateTime: out.CreateTime})
	p.new.note(v.ID, v.Tags)
	return v, nil
}

// madeAtQuota finds the volume that the token made before: at its quota EC2 refuses a volume
// without looking at the token. The caller's tags are those of one volume.
func madeAtQuota(ctx context.Context, p *Provider, req provider.CreateVolumeRequest,
	limit error) (provider.Volume, error) {
	if len(req.Tags) == 0 {
		return provider.Volume{}, limit
	}
	by := provider.Filter{Tags: req.Tags}
	made, err := p.ListVolumes(ctx, by)
	if len(made) == 0 && err == nil {
		made, err = p.ListVolumes(ctx, by.All())
	}
	if errors.Is(err, provider.ErrThrottled) {
		return provider.Volume{}, err // it may not show yet
	}
	for _, v := range made {
		if (v.State == provider.VolumeCreating || v.State == provider.VolumeAvailable) &&
			isAskedFor(v, req) {
			return v, nil
		}
	}
	return provider.Volume{}, errors.Join(limit, err)
}

// isAskedFor says that a volume is what the request would make.
func isAskedFor(v provider.Volume, req provider.CreateVolumeRequest) bool {
	return v.SnapshotID == req.SnapshotID && v.Zone == req.Zone && v.Type == req.Type &&
		(req.SizeBytes == 0 || v.SizeBytes == int64(wholeGiB(req.SizeBytes))*gib)
}

func (p *Provider) volumeInput(req provider.CreateVolumeRequest) *ec2.CreateVolumeInput {
	kind := types.VolumeType(req.Type)
	input := &ec2.CreateVolumeInput{ClientToken: aws.String(req.ClientToken),
		AvailabilityZone: aws.String(req.Zone), VolumeType: kind,
		TagSpecifications: specification(types.ResourceTypeVolume, with(map[string]string{
			tagSource: cmp.Or(req.SnapshotID, noSource)}, p.tagged(req.Tags)))}
	if req.SizeBytes > 0 {
		input.Size = aws.Int32(wholeGiB(req.SizeBytes))
	}
	if p.cfg.IOPS > 0 &&
		slices.Contains([]types.VolumeType{types.VolumeTypeGp3, types.VolumeTypeIo1,
			types.VolumeTypeIo2}, kind) {
		input.Iops = aws.Int32(p.cfg.IOPS)
	}
	if p.cfg.Throughput > 0 && kind == types.VolumeTypeGp3 {
		input.Throughput = aws.Int32(p.cfg.Throughput)
	}
	input.Encrypted, input.KmsKeyId = p.cfg.encryption()
	if req.SnapshotID != "" {
		input.SnapshotId = aws.String(req.SnapshotID)
		if p.cfg.InitializationRate > 0 {
			input.VolumeInitializationRate = aws.Int32(p.cfg.InitializationRate)
		}
	}
	return input
}

// GetVolume reads one volume.
func (p *Provider) GetVolume(ctx context.Context, id string) (provider.Volume, error) {
	v, err := p.volume(ctx, id)
	if err != nil {
		return provider.Volume{}, err
	}
	return toVolume(v), nil
}

func (a *account) volume(ctx context.Context, id string) (types.Volume, error) {
	var found []types.Volume
	if err := checkID(id, "vol"); err != nil {
		return types.Volume{}, err
	}
	err := a.new.until(ctx, "DescribeVolumes", id, func() error {
		var err error
		found, err = a.describeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
		if err == nil && len(found) != 1 {
			err = provider.Errorf(provider.ErrNotFound, id, "volume %s not found", id)
		}
		return err
	})
	if err != nil {
		return types.Volume{}, err
	}
	return found[0], nil
}

// ListVolumes lists volumes, oldest first, without the root volumes of instances. Those with
// certain tags are without what somebody else gave them to.
func (p *Provider) ListVolumes(ctx context.Context, f provider.Filter) ([]provider.Volume, error) {
	by, machine := p.filters(f), types.Instance{}
	if f.MachineID != "" {
		var err error
		machine, err = p.instance(ctx, f.MachineID)
		if err != nil && !errors.Is(err, provider.ErrNotFound) {
			return nil, err
		}
		// What is attached to the machine counts whoever made it.
		by = append((&account{}).filters(f), filter("attachment.instance-id", f.MachineID))
	}
	var list []types.Volume
	err := p.new.patiently(ctx, func() (err error) {
		list, err = find(ctx, p.new, "vol", f, volumeTags, func() ([]types.Volume, error) {
			return p.describeVolumes(ctx,
				&ec2.DescribeVolumesInput{Filters: by, MaxResults: aws.Int32(pageSize)})
		})
		if err == nil {
			err = p.withItsVolumes(machine, list)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	root := aws.ToString(machine.RootDeviceName)
	var volumes []provider.Volume
	for _, found := range list {
		v := toVolume(found)
		if isRoot(found, root) || v.State == provider.VolumeDeleted || !f.Matches(v.Tags) ||
			f.MachineID != "" && v.MachineID != f.MachineID ||
			f.MachineID == "" && len(f.Tags) > 0 && volumeCopied(found) {
			continue
		}
		v.Default = v.Default && cameWith(found, machine)
		volumes = append(volumes, v)
	}
	return byCreation(volumes, func(v provider.Volume) (time.Time, string) {
		return v.CreatedAt,
			v.ID
	}), nil
}

// withItsVolumes asks the caller to wait when the machine is so new that EC2 does not list yet all
// volumes that came with it: the instance names them.
func (a *account) withItsVolumes(machine types.Instance, listed []types.Volume) error {
	if a.cfg.Now().Sub(createdAt(machine)) > a.cfg.Consistency {
		return nil
	}
	for _, m := range machine.BlockDeviceMappings {
		if m.Ebs == nil || m.Ebs.Status != types.AttachmentStatusAttached {
			continue
		}
		id := aws.ToString(m.Ebs.VolumeId)
		if !slices.ContainsFunc(listed,
			func(v types.Volume) bool { return aws.ToString(v.VolumeId) == id }) {
			return late(nil, "EC2 does not list yet volume %s, which machine %s has", id,
				aws.ToString(machine.InstanceId))
		}
	}
	return nil
}

func volumeTags(v types.Volume) (string, []types.Tag) { return aws.ToString(v.VolumeId), v.Tags }

func (a *account) describeVolumes(ctx context.Context,
	in *ec2.DescribeVolumesInput, how ...option) ([]types.Volume, error) {
	var all []types.Volume
	pages := ec2.NewDescribeVolumesPaginator(a.api, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, how...)
		if err != nil {
			return nil, refused(err, "DescribeVolumes", "")
		}
		all = append(all, page.Volumes...)
	}
	return all, nil
}

// DeleteVolume deletes a volume that is attached nowhere.
func (p *Provider) DeleteVolume(ctx context.Context, id string) error {
	if err := checkID(id, "vol"); err != nil {
		return err
	}
	err := p.until(ctx, "DeleteVolume", id, func() error {
		_, err := p.api.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String(id)})
		return err
	})
	if err == nil {
		p.new.forget(id)
	}
	return p.heldBy(ctx, id, err)
}

// heldBy adds to an ErrInUse about the volume who has it.
func (a *account) heldBy(ctx context.Context, id string, err error) error {
	if !errors.Is(err, provider.ErrInUse) || checkID(id, "vol") != nil {
		return err
	}
	v, unread := a.volume(ctx, id)
	if unread != nil || len(v.Attachments) == 0 {
		return err
	}
	return provider.InUse(id, aws.ToString(v.Attachments[0].InstanceId), "%w", err)
}
