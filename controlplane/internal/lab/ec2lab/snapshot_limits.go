package ec2lab

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// SnapshotLimits are EC2's limits of snapshots of one volume. The zero value has none.
type SnapshotLimits struct {
	// Pace is the least time between two requests for snapshots of a volume, refused ones included.
	// EC2 wants 15 s: "Wait at least 15 seconds between concurrent volume snapshots"
	// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
	// SnapshotCreationPerVolumeRateExceeded). Whoever repeats sooner is refused for ever
	// (https://github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/1608).
	Pace time.Duration
	// Pending limits how many are pending: 5, of sc1 and st1 volumes 1
	// (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-resource-quotas.html). One that was
	// deleted while it was pending counts until it would have been completed
	// (https://docs.aws.amazon.com/ebs/latest/userguide/ebs-deleting-snapshot.html): here for
	// Leaves after its deletion.
	Pending bool
	Leaves  time.Duration
}

// maySnapshot refuses a request for a snapshot of a volume by the limits.
func (s *Server) maySnapshot(ctx context.Context, id string) error {
	limits, kept, now := s.currentBehaviour().Snapshots, s.state.volume(id), s.cfg.Now()
	last := kept.SnapshotAsked
	kept.SnapshotAsked = now
	if now.Sub(last) < limits.Pace {
		return refuse("SnapshotCreationPerVolumeRateExceeded", "The maximum per volume "+
			"CreateSnapshot request rate has been exceeded. Use an increasing or variable sleep "+
			"interval between requests.")
	}
	if !limits.Pending {
		return nil
	}
	all, err := s.cfg.Lab.ListSnapshots(ctx, provider.Filter{})
	if err != nil {
		return err
	}
	pending := 0
	for _, one := range all {
		if shown := s.showSnapshot(one); *shown.VolumeId == id &&
			shown.State == types.SnapshotStatePending {
			pending++
		}
	}
	for _, deleted := range kept.SnapshotsLeft {
		if now.Sub(deleted) < limits.Leaves {
			pending++
		}
	}
	if pending >= pendingLimit(kept.Type) {
		return refuse("ConcurrentSnapshotLimitExceeded",
			"Maximum allowed in-progress snapshots for a single volume exceeded.")
	}
	return nil
}

func pendingLimit(kind string) int {
	switch types.VolumeType(kind) {
	case types.VolumeTypeSc1, types.VolumeTypeSt1:
		return 1
	}
	return 5
}
