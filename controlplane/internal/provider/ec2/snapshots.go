package ec2

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// CreateSnapshot begins a snapshot. Its caller holds the volume still, so nothing is repeated that
// EC2 refuses. When EC2's answer is lost it is looked for by its tags for as long as EC2 may not
// show it.
func (p *Provider) CreateSnapshot(ctx context.Context,
	req provider.CreateSnapshotRequest) (provider.Snapshot, error) {
	var none provider.Snapshot
	if err := provider.ValidateTags(req.Tags); err != nil {
		return none, err
	}
	if err := checkID(req.VolumeID, "vol"); err != nil {
		return none, err
	}
	out, err := p.api.CreateSnapshot(ctx, p.snapshotInput(req), unrepeated)
	if lost(err) {
		p.new.noteMaybe("snap", req.Tags)
		return p.cutAfterAll(ctx, req, err)
	}
	if err != nil {
		err = refused(p.judgedBy(ctx, err, "CreateSnapshot", []option{unrepeated}, req.VolumeID),
			"CreateSnapshot", req.VolumeID)
		return none, p.new.unknownYet(err, req.VolumeID)
	}
	s := toSnapshot(types.Snapshot{SnapshotId: out.SnapshotId, State: out.State,
		StateMessage: out.StateMessage, Progress: out.Progress,
		VolumeId: out.VolumeId, VolumeSize: out.VolumeSize, Tags: out.Tags,
		StartTime: out.StartTime})
	p.new.note(s.ID, s.Tags)
	return s, nil
}

func (a *account) snapshotInput(req provider.CreateSnapshotRequest) *ec2.CreateSnapshotInput {
	return &ec2.CreateSnapshotInput{VolumeId: aws.String(req.VolumeID),
		TagSpecifications: specification(types.ResourceTypeSnapshot, with(map[string]string{
			tagVolume: req.VolumeID}, a.tagged(req.Tags)))}
}

func (p *Provider) cutAfterAll(ctx context.Context, req provider.CreateSnapshotRequest,
	cause error) (provider.Snapshot, error) {
	var found provider.Snapshot
	if len(req.Tags) == 0 {
		return found, refused(cause, "CreateSnapshot", req.VolumeID)
	}
	// it looks for as long as what may have been made may not show
	list, err := p.ListSnapshots(ctx, provider.Filter{Tags: req.Tags})
	for _, s := range list {
		if s.VolumeID == req.VolumeID {
			p.cfg.Log.Info("the answer was lost, the snapshot is there", "volume", req.VolumeID,
				"snapshot", s.ID)
			return s, nil
		}
	}
	return found, errors.Join(refused(cause, "CreateSnapshot", req.VolumeID), err)
}

// GetSnapshot reads one snapshot.
func (p *Provider) GetSnapshot(ctx context.Context, id string) (provider.Snapshot, error) {
	var found []types.Snapshot
	if err := checkID(id, "snap"); err != nil {
		return provider.Snapshot{}, err
	}
	err := p.new.until(ctx, "DescribeSnapshots", id, func() error {
		var err error
		found, err = p.describeSnapshots(ctx,
			&ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
		if err == nil && len(found) != 1 {
			err = provider.Errorf(provider.ErrNotFound, id, "snapshot %s not found", id)
		}
		return err
	})
	if err != nil {
		return provider.Snapshot{}, err
	}
	return toSnapshot(found[0]), nil
}

// ListSnapshots lists the account's own snapshots, oldest first. Those with certain tags are
// without what somebody else gave them to.
func (p *Provider) ListSnapshots(ctx context.Context,
	f provider.Filter) ([]provider.Snapshot, error) {
	list, err := find(ctx, p.new, "snap", f, snapshotTags, func() ([]types.Snapshot, error) {
		return p.describeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"},
			Filters: p.filters(f), MaxResults: aws.Int32(pageSize)})
	})
	if err != nil {
		return nil, err
	}
	var snapshots []provider.Snapshot
	for _, found := range list {
		if s := toSnapshot(found); f.Matches(s.Tags) &&
			(len(f.Tags) == 0 || !snapshotCopied(found)) {
			snapshots = append(snapshots, s)
		}
	}
	return byCreation(snapshots, func(s provider.Snapshot) (time.Time, string) {
		return s.CreatedAt,
			s.ID
	}), nil
}

func snapshotTags(s types.Snapshot) (string, []types.Tag) {
	return aws.ToString(s.SnapshotId),
		s.Tags
}

func (a *account) describeSnapshots(ctx context.Context,
	in *ec2.DescribeSnapshotsInput, how ...option) ([]types.Snapshot, error) {
	var all []types.Snapshot
	pages := ec2.NewDescribeSnapshotsPaginator(a.api, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, how...)
		if err != nil {
			return nil, refused(err, "DescribeSnapshots", "")
		}
		all = append(all, page.Snapshots...)
	}
	return all, nil
}

// DeleteSnapshot deletes a snapshot.
func (p *Provider) DeleteSnapshot(ctx context.Context, id string) error {
	if err := checkID(id, "snap"); err != nil {
		return err
	}
	before, err := p.GetSnapshot(ctx, id) // unseen it is deleted all the same
	if errors.Is(err, provider.ErrThrottled) {
		return err // it may be pending, which counts on
	}
	err = p.until(ctx, "DeleteSnapshot", id, func() error {
		_, err := p.api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
		return err
	})
	if err == nil {
		p.new.forget(id)
		p.noteDeleted(before)
	}
	return err
}

func toSnapshot(s types.Snapshot) provider.Snapshot {
	progress, _ := strconv.Atoi(strings.TrimSuffix(aws.ToString(s.Progress), "%"))
	shown := provider.Snapshot{ID: aws.ToString(s.SnapshotId), State: provider.SnapshotPending,
		Reason:   aws.ToString(s.StateMessage),
		Progress: progress, VolumeID: aws.ToString(s.VolumeId), SizeBytes: bytesOf(s.VolumeSize),
		Tags:      callers(fromTags(s.Tags)),
		CreatedAt: aws.ToTime(s.StartTime)}
	switch s.State {
	case types.SnapshotStateCompleted:
		shown.State, shown.Progress = provider.SnapshotCompleted, 100
	case types.SnapshotStateError:
		shown.State = provider.SnapshotError
	}
	return shown
}
