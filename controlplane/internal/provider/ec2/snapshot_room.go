package ec2

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	// snapshotPace is how long to wait between two snapshots of a volume: EC2 wants 15 s
	// (AWSEC2/latest/APIReference/errors-overview.html on docs.aws.amazon.com, at
	// SnapshotCreationPerVolumeRateExceeded), and a request takes a while to reach it.
	snapshotPace = 16 * time.Second
	// pendingPause is how long to wait while too many are pending: they take minutes to hours.
	pendingPause = time.Minute
	// leaveTime is how long a snapshot that was deleted while pending is taken to be so still. EC2
	// does not show it any more, and does not say.
	leaveTime = 10 * time.Minute
)

// pacer knows whether EC2 would begin a snapshot of a volume.
type pacer struct {
	account *account

	mu      sync.Mutex
	leaving map[string][]time.Time // when pending snapshots were deleted here, by volume
}

var _ provider.Pacer = (*Provider)(nil)

// SnapshotRoom implements provider.Pacer. It looks at the snapshots of everybody: those of backup
// plans count too. What it cannot see is a request of somebody else that EC2 refused.
func (p *pacer) SnapshotRoom(ctx context.Context, volumeID string, last time.Time) error {
	now := p.account.cfg.Now()
	if err := paced(volumeID, last, now); err != nil {
		return err
	}
	v, err := p.account.volume(ctx, volumeID)
	if err != nil {
		return err
	}
	all, err := p.account.describeSnapshots(ctx, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: []types.Filter{filter("volume-id", volumeID)},
		MaxResults: aws.Int32(pageSize)})
	if err != nil {
		return err
	}
	pending, failed := p.deleted(volumeID, now), []string(nil)
	for _, s := range all {
		// EC2 counts those that ended in error too.
		// https://repost.aws/knowledge-center/ebs-snapshot-stuck
		if s.State != types.SnapshotStateCompleted {
			pending++
		}
		if s.State == types.SnapshotStateError {
			failed = append(failed, aws.ToString(s.SnapshotId))
		}
		if began := aws.ToTime(s.StartTime); began.After(last) {
			last = began
		}
	}
	if most := pendingLimit(v.VolumeType); pending >= most {
		until := "one is complete"
		if len(failed) > 0 {
			until = "somebody deletes what failed (" + strings.Join(failed, ", ") + "), which " +
				"counts until then, or another is complete"
		}
		return provider.Throttled(nil, pendingPause, "volume %s has %d snapshots under way, "+
			"failed or just deleted, and EC2 takes no more than %d: waiting until %s", volumeID,
			pending, most, until)
	}
	return paced(volumeID, last, now)
}

// paced refuses what comes too soon after the last request. A time that is ahead of this host's
// clock makes nobody wait longer than the pace.
func paced(volumeID string, last, now time.Time) error {
	left := min(last.Add(snapshotPace).Sub(now), snapshotPace)
	if left <= 0 {
		return nil
	}
	return provider.Throttled(nil, left, "EC2 begins a snapshot of volume %s every %s at most: "+
		"waiting for the time since %s", volumeID, snapshotPace,
		last.UTC().Format("15:04:05 MST"))
}

func pendingLimit(kind types.VolumeType) int {
	if kind == types.VolumeTypeSc1 || kind == types.VolumeTypeSt1 {
		return 1
	}
	return 5
}

// noteDeleted remembers that a snapshot was deleted while it was pending.
func (p *pacer) noteDeleted(s provider.Snapshot) {
	if s.State != provider.SnapshotPending {
		return
	}
	now := p.account.cfg.Now()
	p.deleted(s.VolumeID, now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving[s.VolumeID] = append(p.leaving[s.VolumeID], now)
}

// deleted is how many snapshots of a volume were deleted here and may be under way still. It
// forgets those of all volumes that cannot be.
func (p *pacer) deleted(volumeID string, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving == nil {
		p.leaving = map[string][]time.Time{}
	}
	for id, times := range p.leaving {
		times = slices.DeleteFunc(times,
			func(at time.Time) bool { return now.Sub(at) > leaveTime })
		if p.leaving[id] = times; len(times) == 0 {
			delete(p.leaving, id)
		}
	}
	return len(p.leaving[volumeID])
}
