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

// EC2 takes four modifications of a volume in any 24 hours, each once the one before is completed.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html
const (
	modifyMost   = 4
	modifyPeriod = 24 * time.Hour
)

func (s *Server) modifyVolume(ctx context.Context,
	in *ec2.ModifyVolumeInput) (*ec2.ModifyVolumeOutput, error) {
	id := aws.ToString(in.VolumeId)
	v, err := s.visibleVolume(ctx, id)
	if err != nil {
		return nil, err
	}
	from, to := s.trueVolume(v), aws.ToInt32(in.Size)
	kept := s.state.volume(id)
	recent := slices.DeleteFunc(slices.Clone(kept.Modifications), func(at time.Time) bool {
		return s.cfg.Now().Sub(at) >= modifyPeriod
	})
	switch m := kept.Modified; {
	case m != nil && s.modificationState(m) != types.VolumeModificationStateCompleted:
		return nil, refuse("IncorrectModificationState",
			"Cannot modify volume %s in modification state %s", id,
			strings.ToUpper(string(s.modificationState(m))))
	case len(recent) >= modifyMost:
		return nil, refuse("VolumeModificationRateExceeded",
			"You've reached the maximum modification rate per volume limit.")
	case in.Size == nil || to < *from.Size:
		return nil, refuse("InvalidParameterValue", "New size cannot be smaller than existing size")
	case to == *from.Size:
		return nil, refuse("InvalidParameterValue",
			"The size and the type are those that the volume has")
	}
	if _, err := s.cfg.Lab.GrowVolume(ctx, v.ID, int64(to)<<30); err != nil {
		return nil, translate(err, "vol", id)
	}
	kept.Modified = &modification{From: *from.Size, To: to, At: s.cfg.Now()}
	kept.Modifications = append(recent, s.cfg.Now())
	shown := s.showModification(id, kept.Modified)
	return &ec2.ModifyVolumeOutput{VolumeModification: &shown}, nil
}

func (s *Server) modifying(m *modification) bool {
	return s.cfg.Now().Sub(m.At) < s.currentBehaviour().ModifyTime
}

// modificationState is how far a modification has come: the new size shows while it is optimizing.
func (s *Server) modificationState(m *modification) types.VolumeModificationState {
	switch {
	case s.modifying(m):
		return types.VolumeModificationStateModifying
	case s.cfg.Now().Sub(m.At) < s.currentBehaviour().OptimizeTime:
		return types.VolumeModificationStateOptimizing
	}
	return types.VolumeModificationStateCompleted
}

func (s *Server) showModification(id string, m *modification) types.VolumeModification {
	state := s.modificationState(m)
	progress := map[types.VolumeModificationState]int64{
		types.VolumeModificationStateOptimizing: 50, types.VolumeModificationStateCompleted: 100}
	return types.VolumeModification{VolumeId: aws.String(id), ModificationState: state,
		OriginalSize: aws.Int32(m.From), TargetSize: aws.Int32(m.To),
		Progress: aws.Int64(progress[state]), StartTime: aws.Time(m.At)}
}

func (s *Server) describeModifications(ctx context.Context,
	in *ec2.DescribeVolumesModificationsInput) (*ec2.DescribeVolumesModificationsOutput, error) {
	volumes, err := s.cfg.Lab.ListVolumes(ctx, provider.Filter{})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVolumesModificationsOutput{}
	for _, v := range volumes {
		id := ec2ID(v.ID)
		if m := s.state.volume(id).Modified; m != nil && slices.Contains(in.VolumeIds, id) &&
			!s.hidden(m.At) {
			out.VolumesModifications = append(out.VolumesModifications, s.showModification(id, m))
		}
	}
	if len(out.VolumesModifications) < len(in.VolumeIds) {
		return nil, refuse("InvalidVolumeModification.NotFound",
			"Modification for volume '%s' does not exist.", strings.Join(in.VolumeIds, ", "))
	}
	return out, nil
}
