package ec2

import (
	"context"
	"errors"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// checkName is the name and the client token of what a check asks for and does not make.
const checkName = "understudy-check"

var yes = aws.Bool(true)

// trial is a call as a dry run.
type trial struct {
	action string
	call   func(ctx context.Context) error
	whole  bool // its input is a job's, so that EC2 has nothing else to refuse
}

// tryout is what comes of all trials.
type tryout struct {
	p *Provider

	machine, volume, snapshot string   // of the fleet; empty: there is none
	denied                    []string // actions
	forbidden                 []string // what EC2 says to actions that a policy denies
	refused                   []string // what EC2 says to inputs of jobs
	untried                   []string // actions for which the fleet has no object
}

// all tries every call. An error says that nothing could be found out.
func (t *tryout) all(ctx context.Context) error {
	if err := t.run(ctx, t.looks()); err != nil {
		return err
	}
	if err := t.find(ctx); err != nil {
		return err
	}
	return t.run(ctx, slices.Concat(t.launches(ctx), t.makings(ctx), t.ofMachine(), t.ofVolume(),
		t.ofSnapshot()))
}

func (t *tryout) run(ctx context.Context, trials []trial) error {
	for _, one := range trials {
		err := one.call(ctx)
		switch code := codeOf(err); {
		case explicitlyDenied(err):
			t.forbidden = append(t.forbidden, refused(err, one.action, "").Error())
		case code == "UnauthorizedOperation":
			if action := deniedAction(err, one.action); !slices.Contains(t.denied, action) {
				t.denied = append(t.denied, action)
			}
		case errors.Is(kinds[code], provider.ErrDenied) || whyExpired(err) != "" || lost(err) ||
			throttling[code] > 0:
			return refused(err, one.action, "") // the others would say the same
		case one.whole && code != "" && code != "DryRunOperation":
			t.refused = append(t.refused, refused(err, one.action, "").Error())
		}
	}
	return nil
}

var deniedPattern = regexp.MustCompile(`not authorized to perform: ([a-z0-9]+:[A-Za-z]+)`)

// deniedAction is what EC2 says is missing: a call may need more than its own action, such as
// ec2:CreateTags and iam:PassRole.
func deniedAction(err error, called string) string {
	if found := deniedPattern.FindStringSubmatch(err.Error()); found != nil {
		return found[1]
	}
	return "ec2:" + called
}

// find looks for objects of the fleet. Lists that are denied have been noticed.
func (t *tryout) find(ctx context.Context) error {
	by := t.p.filters(provider.Filter{})
	machines, err := t.p.describeInstances(ctx, &ec2.DescribeInstancesInput{Filters: by,
		MaxResults: aws.Int32(pageSize)})
	if err != nil && !errors.Is(err, provider.ErrDenied) {
		return err
	}
	for _, i := range machines {
		if machineState(i) != provider.MachineTerminated {
			t.machine = aws.ToString(i.InstanceId)
		}
	}
	volumes, err := t.p.describeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: by,
		MaxResults: aws.Int32(pageSize)})
	if err != nil && !errors.Is(err, provider.ErrDenied) {
		return err
	}
	for _, v := range volumes {
		if v.State == types.VolumeStateAvailable || v.State == types.VolumeStateInUse {
			t.volume = aws.ToString(v.VolumeId)
		}
	}
	snapshots, err := t.p.describeSnapshots(ctx, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, Filters: by, MaxResults: aws.Int32(pageSize)})
	if err != nil && !errors.Is(err, provider.ErrDenied) {
		return err
	}
	for _, s := range snapshots {
		t.snapshot = aws.ToString(s.SnapshotId)
	}
	return nil
}

// on are trials on an object of the fleet; none while it has no such object.
func (t *tryout) on(id string, trials ...trial) []trial {
	if id != "" {
		return trials
	}
	for _, one := range trials {
		t.untried = append(t.untried, "ec2:"+one.action)
	}
	return nil
}
