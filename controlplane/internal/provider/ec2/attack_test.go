package ec2

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A launch in another zone whose answer was lost is asked for there again: the first zone, which
// has room by then, knows nothing of it.
func TestLostLaunchInAnotherZoneIsNotRepeatedInTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		zones := ec2lab.Zones()
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		runs := 0
		f.server.SetBehaviour(ec2lab.Behaviour{
			Launches:    ec2lab.Launches{Full: zones[:1]},
			Consistency: time.Minute,
			Fault: func(action string) ec2lab.Fault {
				if action == "RunInstances" {
					runs++
				}
				return ec2lab.Fault{LoseAnswer: action == "RunInstances" && runs > 1}
			}})
		req := newMachine
		req.OtherZones = true
		if _, err := f.CreateMachine(t.Context(), req); !lost(err) {
			t.Fatalf("the answer was lost: %v", err)
		}
		f.server.SetBehaviour(ec2lab.Behaviour{Consistency: time.Minute})
		m, err := f.CreateMachine(t.Context(), req)
		if err != nil || m.Zone != zones[1] {
			t.Errorf("it is in %q: %v", m.Zone, err)
		}
		time.Sleep(time.Hour)
		all, err := f.ListMachines(t.Context(), provider.Filter{})
		if err != nil || len(all) != 1 {
			t.Errorf("there are %d machines, %v", len(all), err)
		}
	})
}

// An allow does not help against an explicit deny, such as that of a service control policy.
func TestExplicitDenyIsNotCuredByAnAllow(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{}, ec2lab.Behaviour{Fault: func(action string) ec2lab.Fault {
		if action != "CreateVolume" {
			return ec2lab.Fault{}
		}
		return ec2lab.Fault{Refuse: "UnauthorizedOperation", Message: "You are not authorized to " +
			"perform this operation. User: arn:aws:iam::1:user/u is not authorized to perform: " +
			"ec2:CreateVolume on resource: arn:aws:ec2:eu-central-1:1:volume/* with an explicit " +
			"deny in a service control policy"}
	}})
	_, err := f.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: "v",
		SizeBytes: gib})
	if !errors.Is(err, provider.ErrDenied) || strings.Contains(err.Error(), "(allow ") ||
		!strings.Contains(err.Error(), "denies it") {
		t.Errorf("%v", err)
	}
}

// What this process made a moment ago is young whatever the clock of its host says.
func TestYoungByAClockThatIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead := Config{Now: func() time.Time { return time.Now().Add(4 * time.Minute) }}
		f := newFake(t, ahead, ec2lab.Behaviour{Access: ec2lab.Access{TagsLate: time.Minute,
			Policy: policyOf(t, ec2lab.Region)}})
		v, err := f.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: "v",
			SizeBytes: gib})
		if err != nil {
			t.Fatal(err)
		}
		if err := asked(t, "the deletion", func() error {
			return f.DeleteVolume(t.Context(), v.ID)
		}); err != nil {
			t.Errorf("a volume that is new: %v", err)
		}
	})
}

// At the quota the volume that the tags find is answered with only when it is what was asked for.
func TestQuotaHidesNoVolumeOfAnotherSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		source := f.newVolume(t, "source", nil)
		first := f.cut(t, source)
		time.Sleep(time.Hour)
		second := f.cut(t, source)
		time.Sleep(time.Hour)
		req := provider.CreateVolumeRequest{ClientToken: "one", SnapshotID: first,
			Tags: map[string]string{"understudy:step": "1/swap_volume/1"}}
		if _, err := f.CreateVolume(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		f.server.SetBehaviour(ec2lab.Behaviour{Quota: ec2lab.Quota{Volumes: 1}})
		for what, change := range map[string]func(r *provider.CreateVolumeRequest){
			"snapshot": func(r *provider.CreateVolumeRequest) { r.SnapshotID = second },
			"zone":     func(r *provider.CreateVolumeRequest) { r.Zone = ec2lab.Zones()[1] },
			"size":     func(r *provider.CreateVolumeRequest) { r.SizeBytes = 4 * gib },
		} {
			other := req
			other.ClientToken = what
			change(&other)
			if v, err := f.CreateVolume(t.Context(), other); !errors.Is(err,
				provider.ErrLimitExceeded) {
				t.Errorf("another %s: %s, %v", what, v.ID, err)
			}
		}
	})
}

// Snapshots that failed count until somebody deletes them: no waiting ends that.
func TestFailedSnapshotsInTheWayAreNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failing := ec2lab.Behaviour{Fault: func(action string) ec2lab.Fault {
			if action == "CreateSnapshot" {
				return ec2lab.Fault{Fails: "it failed"}
			}
			return ec2lab.Fault{}
		}}
		f := newFake(t, Config{VolumeType: "st1"}, failing)
		id := f.newVolume(t, "v", nil)
		failed := f.cut(t, id)
		time.Sleep(time.Hour)
		err := f.SnapshotRoom(t.Context(), id, time.Time{})
		if _, wait := provider.RetryAfter(err); !wait || !strings.Contains(err.Error(), failed) ||
			!strings.Contains(err.Error(), "delete") {
			t.Errorf("%v", err)
		}
	})
}

// A look at what a refusal was for repeats nothing while commits are held.
func TestDeniedSnapshotIsJudgedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		id := f.newVolume(t, "v", nil)
		f.server.SetBehaviour(ec2lab.Behaviour{Fault: func(action string) ec2lab.Fault {
			if action == "CreateSnapshot" {
				return ec2lab.Fault{Refuse: "UnauthorizedOperation"}
			}
			return ec2lab.Fault{Refuse: "RequestLimitExceeded"}
		}})
		began := time.Now()
		_, err := f.CreateSnapshot(t.Context(), provider.CreateSnapshotRequest{VolumeID: id})
		if _, wait := provider.RetryAfter(err); !wait {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

// A check says of what a policy denies that no allow helps.
func TestCheckNamesAnExplicitDeny(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{}, ec2lab.Behaviour{Fault: func(action string) ec2lab.Fault {
		if action != "DescribeImages" {
			return ec2lab.Fault{}
		}
		return ec2lab.Fault{Refuse: "UnauthorizedOperation", Message: "User: u is not " +
			"authorized to perform: ec2:DescribeImages with an explicit deny in a service " +
			"control policy"}
	}})
	if err := f.Check(t.Context()); err == nil || strings.Contains(err.Error(), ": allow ") ||
		strings.Contains(err.Error(), "(allow ") || !strings.Contains(err.Error(), "denies it") {
		t.Errorf("%v", err)
	}
}

// A zone that has not the type, or whose subnet has no address left, is passed over as a full one.
func TestZoneWithoutTheTypeIsPassedOver(t *testing.T) {
	t.Parallel()
	zones := ec2lab.Zones()
	for _, test := range []struct {
		codes []string
		kind  error
	}{
		{[]string{"Unsupported"}, nil},
		{[]string{"InsufficientFreeAddressesInSubnet"}, nil},
		{[]string{"InsufficientInstanceCapacity", "Unsupported"}, provider.ErrThrottled},
		{[]string{"InsufficientFreeAddressesInSubnet", "InsufficientFreeAddressesInSubnet"},
			provider.ErrThrottled},
		{[]string{"Unsupported", "Unsupported"}, provider.ErrInvalid},
	} {
		runs := 0
		f := newFake(t, Config{Subnets: map[string]string{zones[0]: ec2lab.Subnets()[zones[0]],
			zones[1]: ec2lab.Subnets()[zones[1]]}}, ec2lab.Behaviour{
			Fault: func(action string) ec2lab.Fault {
				if action != "RunInstances" {
					return ec2lab.Fault{}
				}
				runs++
				if runs > len(test.codes) {
					return ec2lab.Fault{}
				}
				return ec2lab.Fault{Refuse: test.codes[runs-1]}
			}})
		req := newMachine
		req.OtherZones = true
		m, err := f.CreateMachine(t.Context(), req)
		if !errors.Is(err, test.kind) || err == nil && m.Zone != zones[1] || mayHaveMade(err) {
			t.Errorf("%v: in %q, %v", test.codes, m.Zone, err)
		}
	}
}
