package ec2

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	// youth is how long EC2 may refuse a call for the tags of something new: it may not know them
	// yet, and says minutes at the most.
	// https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
	youth      = 2 * time.Minute
	youthPause = 2 * time.Second
)

// sight is what a look at one object shows.
type sight struct {
	made  time.Time
	ended bool // an instance that is terminated, which loses its tags
	tags  map[string]string
}

// judged says what a call was refused for when EC2 says "unauthorized". Under conditions on tags it
// says that also of what is gone, and of what is so new that its tags are not known. So the objects
// of the call are looked at: nil when the call has nothing left to do, ErrNotFound of what is gone,
// ErrThrottled of what is young. Where the look fails its error counts, which may be tried again.
// Other errors stay as they are.
func (a *account) judged(ctx context.Context, err error, action string, ids ...string) error {
	return a.judgedBy(ctx, err, action, nil, ids...)
}

// judgedBy is judged with options for the looks.
func (a *account) judgedBy(ctx context.Context, err error, action string, how []option,
	ids ...string) error {
	if codeOf(err) != "UnauthorizedOperation" {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" })
	for _, id := range ids {
		seen, lookErr := a.look(ctx, id, how...)
		switch {
		case errors.Is(lookErr, provider.ErrNotFound):
			return provider.Because(err, provider.ErrNotFound, id, "%s not found", id)
		case errors.Is(lookErr, provider.ErrDenied):
			return refused(err, action, id)
		case lookErr != nil: // it is not known what the refusal was for
			return lookErr
		case seen.ended && action == "TerminateInstances":
			return nil
		case seen.ended:
			return provider.Because(err, provider.ErrIncorrectState, id, "machine %s is terminated",
				id)
		case a.cfg.Fleet != "" && seen.tags[tagFleet] != a.cfg.Fleet:
			return provider.Because(err, provider.ErrDenied, id, "EC2 refused %s: it does not "+
				"carry the tag %s=%s, which the policy of docs/ec2.md wants", about(action, id),
				tagFleet, a.cfg.Fleet)
		case a.new.isNew(id) || a.cfg.Now().Sub(seen.made) < youth:
			return provider.Throttled(err, youthPause, "EC2 refused %s: it is new, and EC2 "+
				"may not know its tags yet: waiting", about(action, id))
		}
	}
	return refused(err, action, strings.Join(ids, " and "))
}

// until is recent.until for calls that conditions on tags may refuse.
func (a *account) until(ctx context.Context, action, id string, call func() error) error {
	return a.new.until(ctx, action, id, func() error {
		return a.judged(ctx, call(), action, id)
	})
}

// look reads one object, once. ErrNotFound.
func (a *account) look(ctx context.Context, id string, how ...option) (sight, error) {
	var seen []sight
	var err error
	switch kind, _, _ := strings.Cut(id, "-"); kind {
	case "i":
		var found []types.Instance
		found, err = a.describeInstances(ctx,
			&ec2.DescribeInstancesInput{InstanceIds: []string{id}}, how...)
		for _, i := range found {
			seen = append(seen, sight{createdAt(i), machineState(i) == provider.MachineTerminated,
				fromTags(i.Tags)})
		}
	case "vol":
		var found []types.Volume
		found, err = a.describeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}},
			how...)
		for _, v := range found {
			if v.State != types.VolumeStateDeleting && v.State != types.VolumeStateDeleted {
				seen = append(seen, sight{aws.ToTime(v.CreateTime), false, fromTags(v.Tags)})
			}
		}
	case "snap":
		var found []types.Snapshot
		found, err = a.describeSnapshots(ctx,
			&ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}}, how...)
		for _, s := range found {
			seen = append(seen, sight{aws.ToTime(s.StartTime), false, fromTags(s.Tags)})
		}
	}
	if err == nil && len(seen) != 1 {
		err = provider.Errorf(provider.ErrNotFound, id, "%s not found", id)
	}
	if err != nil {
		return sight{}, err
	}
	return seen[0], nil
}
