package ec2lab

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func (s *Server) createSnapshot(ctx context.Context,
	in *ec2.CreateSnapshotInput) (*ec2.CreateSnapshotOutput, error) {
	id := aws.ToString(in.VolumeId)
	tags, err := tagsFor(in.TagSpecifications, types.ResourceTypeSnapshot)
	if err != nil {
		return nil, err
	}
	v, err := s.visibleVolume(ctx, id)
	if err != nil {
		return nil, err
	}
	if s.underWay(s.state.volume(id).Begun) {
		return nil, refuse("IncorrectState", "Volume '%s' is in the 'creating' state.", id)
	}
	if err := s.maySnapshot(ctx, id); err != nil {
		return nil, err
	}
	made, err := s.cfg.Lab.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: v.ID,
		Tags: tags})
	if err != nil {
		return nil, translate(err, "vol", id)
	}
	if b := s.begin(ctx); b != nil {
		s.state.Snapshots[ec2ID(made.ID)] = b
	}
	shown := s.showSnapshot(made)
	return &ec2.CreateSnapshotOutput{SnapshotId: shown.SnapshotId, VolumeId: shown.VolumeId,
		State: shown.State, Progress: shown.Progress, VolumeSize: shown.VolumeSize,
		StartTime: shown.StartTime, Tags: shown.Tags, OwnerId: shown.OwnerId,
		Encrypted: shown.Encrypted}, nil
}

func (s *Server) showSnapshot(made provider.Snapshot) types.Snapshot {
	shown := types.Snapshot{SnapshotId: aws.String(ec2ID(made.ID)),
		VolumeId: aws.String(ec2ID(made.VolumeID)), State: types.SnapshotState(made.State),
		Progress: aws.String(fmt.Sprintf("%d%%", made.Progress)), VolumeSize: gibs(made.SizeBytes),
		StartTime: aws.Time(made.CreatedAt), Tags: toTags(made.Tags),
		OwnerId:     aws.String(accountID),
		Encrypted:   aws.Bool(s.state.volume(ec2ID(made.VolumeID)).Encrypted),
		StorageTier: types.StorageTierStandard}
	if made.Reason != "" {
		shown.StateMessage = aws.String(made.Reason)
	}
	switch b := s.state.Snapshots[ec2ID(made.ID)]; {
	case s.underWay(b):
		shown.State, shown.Progress = types.SnapshotStatePending, aws.String("40%")
	case s.failed(b):
		shown.State, shown.StateMessage = types.SnapshotStateError, aws.String(b.Fails)
	}
	return shown
}

func (s *Server) describeSnapshots(ctx context.Context,
	in *ec2.DescribeSnapshotsInput) (*ec2.DescribeSnapshotsOutput, error) {
	if len(in.SnapshotIds) > 0 && in.MaxResults != nil {
		return nil, refuse("InvalidParameterCombination",
			"The parameter snapshotSet cannot be used with the parameter maxResults")
	}
	if err := onlySelf(in.OwnerIds); err != nil {
		return nil, err
	}
	for _, id := range in.SnapshotIds {
		if _, err := labID("snap", id); err != nil {
			return nil, err
		}
	}
	all, err := s.cfg.Lab.ListSnapshots(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	var found []types.Snapshot
	seen := 0
	for _, made := range all {
		shown := s.showSnapshot(made)
		if s.hidden(made.CreatedAt) || len(in.SnapshotIds) > 0 &&
			!slices.Contains(in.SnapshotIds, *shown.SnapshotId) {
			continue
		}
		seen++
		ok, err := matches(in.Filters, made.Tags,
			map[string][]string{"snapshot-id": {*shown.SnapshotId}, "volume-id": {*shown.VolumeId},
				"status": {string(shown.State)}})
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, shown)
		}
	}
	if seen < len(in.SnapshotIds) {
		return nil, notFound("snap", strings.Join(in.SnapshotIds, ", "))
	}
	found, next, err := page(found, in.MaxResults, in.NextToken, s.currentBehaviour().PageSize)
	return &ec2.DescribeSnapshotsOutput{Snapshots: found, NextToken: next}, err
}

func (s *Server) visibleSnapshot(ctx context.Context, id string) (provider.Snapshot, error) {
	lab, err := labID("snap", id)
	if err != nil {
		return provider.Snapshot{}, err
	}
	made, err := s.cfg.Lab.GetSnapshot(ctx, lab)
	if err == nil && s.hidden(made.CreatedAt) {
		return made, notFound("snap", id)
	}
	return made, translate(err, "snap", id)
}

func (s *Server) deleteSnapshot(ctx context.Context,
	in *ec2.DeleteSnapshotInput) (*ec2.DeleteSnapshotOutput, error) {
	id := aws.ToString(in.SnapshotId)
	made, err := s.visibleSnapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	if shown := s.showSnapshot(made); shown.State == types.SnapshotStatePending {
		kept := s.state.volume(*shown.VolumeId)
		kept.SnapshotsLeft = append(kept.SnapshotsLeft, s.cfg.Now())
	}
	return &ec2.DeleteSnapshotOutput{}, translate(s.cfg.Lab.DeleteSnapshot(ctx, made.ID), "snap",
		id)
}
