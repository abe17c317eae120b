package ec2

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// walking makes every call: in the default VPC the zones are asked for, and sealed machines have
// their metadata service turned off.
var walking = Config{DefaultVPC: true, SealMetadata: true}

// walk does all that jobs do with a provider, and gives the first error.
func (f *fake) walk(t *testing.T) error {
	t.Helper()
	ctx := t.Context()
	if _, err := f.Images(ctx); err != nil {
		return err
	}
	m, err := f.CreateMachine(ctx, newMachine)
	if err != nil {
		return err
	}
	v, err := f.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "v", SizeBytes: gib})
	if err != nil {
		return err
	}
	time.Sleep(time.Hour)
	_, listed := f.ListMachines(ctx, provider.Filter{})
	if err := errors.Join(listed, f.SealMachine(ctx, m.ID), f.StopMachine(ctx, m.ID),
		f.StartMachine(ctx, m.ID), f.RebootMachine(ctx, m.ID),
		f.SetTags(ctx, v.ID, map[string]string{"kept": "yes"})); err != nil {
		return err
	}
	if _, err := f.AttachVolume(ctx, v.ID, m.ID); err != nil {
		return err
	}
	for range 2 { // the second one finds the first under way
		if _, err := f.GrowVolume(ctx, v.ID, 2*gib); err != nil {
			return err
		}
	}
	s, err := f.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: v.ID})
	if err != nil {
		return err
	}
	time.Sleep(time.Hour)
	if _, err := f.ListSnapshots(ctx, provider.Filter{}); err != nil {
		return err
	}
	copied, err := f.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "c",
		SnapshotID: s.ID})
	if err != nil {
		return err
	}
	time.Sleep(time.Hour)
	if _, err := f.DetachVolume(ctx, v.ID, m.ID); err != nil {
		return err
	}
	return errors.Join(f.DeleteVolume(ctx, v.ID), f.DeleteVolume(ctx, copied.ID),
		f.DeleteSnapshot(ctx, s.ID), f.TerminateMachine(ctx, m.ID))
}

// The policy allows every call that the provider makes, where it makes it.
func TestEveryCallIsMadeUnderThePolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		called := map[string]bool{}
		f := newFake(t, walking, ec2lab.Behaviour{ModifyTime: time.Minute,
			Fault: func(action string) ec2lab.Fault {
				mu.Lock()
				defer mu.Unlock()
				called["ec2:"+action] = true
				return ec2lab.Fault{}
			}})
		if err := f.walk(t); err != nil {
			t.Error(err)
		}
		if all := slices.Sorted(maps.Keys(called)); !slices.Equal(all, Actions()) {
			t.Errorf("called are %v, and the provider has %v", all, Actions())
		}
	})
}

// Each statement of the policy is needed.
func TestEveryStatementIsNeeded(t *testing.T) {
	t.Parallel()
	for i, s := range statements(t, policyOf(t, ec2lab.Region)) {
		t.Run(s["Sid"].(string), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rest := statements(t, policyOf(t, ec2lab.Region))
				f := newFake(t, walking, ec2lab.Behaviour{ModifyTime: time.Minute,
					Access: ec2lab.Access{Policy: policyWith(t, slices.Delete(rest, i, i+1))}})
				if err := f.walk(t); !errors.Is(err, provider.ErrDenied) {
					t.Errorf("without it: %v", err)
				}
			})
		})
	}
}

// A check passes under the policy, with and without objects of the fleet, and names each action
// that is taken out of it.
func TestCheckTriesTheRealCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		if err := f.Check(t.Context()); err != nil {
			t.Errorf("a fleet that has nothing: %v", err)
		}
		if _, err := f.CreateMachine(t.Context(), newMachine); err != nil {
			t.Fatal(err)
		}
		f.cut(t, f.newVolume(t, "v", nil))
		time.Sleep(time.Hour)
		if err := f.Check(t.Context()); err != nil {
			t.Errorf("a fleet that has all: %v", err)
		}
		for _, action := range Actions() {
			f.server.SetBehaviour(ec2lab.Behaviour{
				Access: ec2lab.Access{Policy: policyWithout(t, action)}})
			err := f.another(t, Config{}).Check(t.Context())
			if err == nil || !strings.Contains(err.Error(), "allow "+action+" to the control") {
				t.Errorf("without %s: %v", action, err)
			}
		}
	})
}

// The inputs of a check are those of jobs.
func TestCheckSaysWhatEC2WouldRefuse(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{
		Subnets: map[string]string{ec2lab.Zones()[0]: "subnet-0123456789abcdef0"}},
		ec2lab.Behaviour{})
	err := f.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), "InvalidSubnetID.NotFound") {
		t.Errorf("a subnet that is not there: %v", err)
	}
}

// The policy names the partition of its region.
func TestPolicyOfAPartition(t *testing.T) {
	t.Parallel()
	for region, name := range map[string]string{"eu-central-1": "aws", "us-east-1": "aws",
		"cn-northwest-1": "aws-cn", "us-gov-west-1": "aws-us-gov"} {
		if got := partition(region); got != name {
			t.Errorf("%s is in %s, not in %s", region, got, name)
		}
	}
	for _, region := range []string{"eu-central-1", "cn-north-1", "us-gov-east-1"} {
		t.Run(region, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, walking, ec2lab.Behaviour{ModifyTime: time.Minute,
					Access: ec2lab.Access{Policy: policyOf(t, region), Partition: "aws-cn"}})
				err := f.walk(t)
				if region == "cn-north-1" && err != nil ||
					region != "cn-north-1" && !errors.Is(err, provider.ErrDenied) {
					t.Errorf("in China: %v", err)
				}
			})
		})
	}
}

func statements(t *testing.T, policy string) []map[string]any {
	t.Helper()
	var all struct{ Statement []map[string]any }
	if err := json.Unmarshal([]byte(policy), &all); err != nil {
		t.Fatal(err)
	}
	return all.Statement
}

func policyWith(t *testing.T, all []map[string]any) string {
	t.Helper()
	data, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// policyWithout is the policy in which nothing allows an action.
func policyWithout(t *testing.T, action string) string {
	t.Helper()
	return without(t, policyOf(t, ec2lab.Region), action)
}

func without(t *testing.T, policy, action string) string {
	t.Helper()
	all := statements(t, policy)
	for _, s := range all {
		s["Action"] = slices.DeleteFunc(s["Action"].([]any),
			func(a any) bool { return a == action })
	}
	return policyWith(t, all)
}
