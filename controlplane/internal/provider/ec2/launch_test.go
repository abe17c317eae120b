package ec2

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A token whose machine is terminated says so, also once EC2 shows the machine no more.
func TestTokenOfATerminatedMachineIsSpent(t *testing.T) {
	t.Parallel()
	f := newFake(t, Config{}, ec2lab.Behaviour{Launches: ec2lab.Launches{TokensEnd: true}})
	m, err := f.CreateMachine(t.Context(), newMachine)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.CreateMachine(t.Context(), newMachine); err != nil || again.ID != m.ID {
		t.Errorf("while it runs: %s, %v", again.ID, err)
	}
	if err := f.TerminateMachine(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	newer := newMachine
	newer.UserData = []byte("another token")
	for range 2 {
		if _, err := f.CreateMachine(t.Context(), newer); !errors.Is(err, provider.ErrEnded) {
			t.Errorf("once it is terminated: %v", err)
		}
		f.memory.Forget(strings.Replace(m.ID, "i-0ec2a", "i-", 1))
	}
}

// Who ended a machine, EC2 or somebody by a call, is told apart by the code of its reason.
func TestLaunchThatEC2EndsItselfIsNoOperatorsDoing(t *testing.T) {
	t.Parallel()
	for code, hint := range map[string]string{"Client.InternalError": "key",
		"Client.VolumeLimitExceeded": "quota", "Server.InternalError": "another",
		"Server.InsufficientInstanceCapacity": "zone", "Client.InvalidSnapshot.NotFound": "AMI"} {
		f := newFake(t, Config{}, ec2lab.Behaviour{Launches: ec2lab.Launches{Ends: code}})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil || m.State != provider.MachinePending {
			t.Fatalf("%s: %+v, %v", code, m, err)
		}
		m, err = f.GetMachine(t.Context(), m.ID)
		if err != nil || m.State != provider.MachineTerminated || !m.Failed ||
			!strings.Contains(m.Reason, code) || !strings.Contains(m.Reason, hint) {
			t.Errorf("%s: %+v, %v", code, m, err)
		}
	}
	f := newFake(t, Config{}, ec2lab.Behaviour{})
	m, err := f.CreateMachine(t.Context(), newMachine)
	if err == nil {
		err = f.TerminateMachine(t.Context(), m.ID)
	}
	if m, _ = f.GetMachine(t.Context(), m.ID); err != nil || m.Failed || m.Reason == "" {
		t.Errorf("ended by a call: %+v, %v", m, err)
	}
}

func TestFullZone(t *testing.T) {
	t.Parallel()
	zones := ec2lab.Zones()
	for _, test := range []struct {
		full   []string
		asked  string
		others bool
		made   string
	}{
		{zones[:1], "", true, zones[1]}, {zones[:1], zones[0], true, zones[1]},
		{zones[1:], zones[1], true, zones[0]}, {zones[:1], zones[0], false, ""},
		{zones, "", true, ""},
	} {
		f := newFake(t, Config{},
			ec2lab.Behaviour{Launches: ec2lab.Launches{Full: test.full}})
		calls := countRuns(f)
		req := newMachine
		req.Zone, req.OtherZones = test.asked, test.others
		m, err := f.CreateMachine(t.Context(), req)
		name := fmt.Sprintf("%v full, %q asked", test.full, test.asked)
		if test.made == "" {
			if !errors.Is(err, provider.ErrThrottled) ||
				!strings.Contains(err.Error(), "t3.large") ||
				!strings.Contains(err.Error(), test.full[0]) || mayHaveMade(err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || m.Zone != test.made {
			t.Errorf("%s: made in %q: %v", name, m.Zone, err)
		}
		if again, err := f.CreateMachine(t.Context(), req); err != nil || again.ID != m.ID {
			t.Errorf("%s: made again: %s, %v", name, again.ID, err)
		}
		if *calls > 4 {
			t.Errorf("%s: %d calls", name, *calls)
		}
	}
}

// countRuns counts the calls of RunInstances that reach EC2.
func countRuns(f *fake) *int {
	calls := new(int)
	behaviour := f.behaviour
	behaviour.Fault = func(action string) ec2lab.Fault {
		if action == "RunInstances" {
			*calls++
		}
		return ec2lab.Fault{}
	}
	f.server.SetBehaviour(behaviour)
	return calls
}

// At its quota EC2 refuses to make a volume before it looks at the token: the volume may be there.
func TestQuotaHidesWhatTheTokenMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		req := provider.CreateVolumeRequest{ClientToken: "one", SizeBytes: gib,
			Tags: map[string]string{"understudy:step": "1/swap_volume/1"}}
		made, err := f.CreateVolume(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		f.server.SetBehaviour(ec2lab.Behaviour{Quota: ec2lab.Quota{Volumes: 1}})
		if again, err := f.CreateVolume(t.Context(), req); err != nil || again.ID != made.ID {
			t.Errorf("the volume %s is there, and its token says %s, %v", made.ID, again.ID, err)
		}
		other := req
		other.ClientToken = "two"
		other.Tags = map[string]string{"understudy:step": "1/swap_volume/2"}
		if err := asked(t, "another one", func() error {
			_, err := f.CreateVolume(t.Context(), other)
			return err
		}); !errors.Is(err, provider.ErrLimitExceeded) {
			t.Errorf("another one: %v", err)
		}
	})
}
