package ec2

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// A customer managed key, and the role of an instance profile named backup, of the lab's account.
var rights = Rights{Fleet: fleet, Region: ec2lab.Region,
	Keys: []string{"arn:aws:kms:eu-lab-1:000000000000:key/0a1b2c3d"},
	Role: "arn:aws:iam::000000000000:role/backup"}

func allowed(policy string) ec2lab.Behaviour {
	return ec2lab.Behaviour{ModifyTime: time.Minute, Access: ec2lab.Access{Policy: policy}}
}

// The policy allows what EC2 does with a key for the control plane, and to give machines a role.
func TestKeysAndProfilesAreUsedUnderThePolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{DefaultVPC: true, Encrypt: true, KMSKey: rights.Keys[0],
			InstanceProfile: "backup"}, allowed(policyFor(t, rights)))
		if err := f.walk(t); err != nil {
			t.Error(err)
		}
	})
}

// keyed has one of each thing made that needs the key, and gives what is said of those that fail.
func (f *fake) keyed(t *testing.T) []string {
	t.Helper()
	ctx := t.Context()
	var failed []string
	made := func(req provider.CreateVolumeRequest) provider.Volume {
		v, err := f.CreateVolume(ctx, req)
		if err == nil {
			v, err = f.CreateVolume(ctx, req) // who asks again hears that it has vanished
		}
		if err != nil {
			failed = append(failed, err.Error())
		}
		time.Sleep(time.Hour)
		return v
	}
	m, err := f.CreateMachine(ctx, newMachine)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = f.GetMachine(ctx, m.ID); err != nil || m.Failed {
		failed = append(failed, m.Reason)
	}
	v := made(provider.CreateVolumeRequest{ClientToken: "v", SizeBytes: gib})
	if len(failed) > 0 {
		return failed
	}
	if _, err := f.AttachVolume(ctx, v.ID, m.ID); err != nil {
		failed = append(failed, err.Error())
	}
	made(provider.CreateVolumeRequest{ClientToken: "c", SnapshotID: f.cut(t, v.ID)})
	return failed
}

// Without one of the actions on the key something fails, and what is said names the action.
func TestKeyThatIsNotAllowedIsNamed(t *testing.T) {
	t.Parallel()
	for _, action := range append(slices.Clone(keyActions), grantAction) {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				policy := without(t, policyFor(t, rights), action)
				f := newFake(t, Config{Encrypt: true, KMSKey: rights.Keys[0]}, allowed(policy))
				failed := f.keyed(t)
				if len(failed) == 0 {
					t.Error("nothing fails")
				}
				for _, said := range failed {
					if !strings.Contains(said, action) || !strings.Contains(said, "key") {
						t.Errorf("%s", said)
					}
				}
			})
		})
	}
}

// A volume that may be made and not be opened is refused at its attachment.
func TestKeyThatCannotBeGrantedIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, allowed(policyFor(t, rights)))
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		p := f.another(t, Config{Encrypt: true, KMSKey: rights.Keys[0]})
		v, err := p.CreateVolume(t.Context(),
			provider.CreateVolumeRequest{ClientToken: "v", SizeBytes: gib})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		f.server.SetBehaviour(allowed(without(t, policyFor(t, rights), grantAction)))
		if _, err := p.AttachVolume(t.Context(), v.ID, m.ID); !errors.Is(err,
			provider.ErrDenied) || !strings.Contains(err.Error(), grantAction) {
			t.Errorf("attached: %v", err)
		}
	})
}

// A key is used through EC2 alone, and another key not at all.
func TestPolicyNamesTheKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		other := strings.Replace(rights.Keys[0], "0a1b", "ffff", 1)
		f := newFake(t, Config{Encrypt: true, KMSKey: other}, allowed(policyFor(t, rights)))
		if failed := f.keyed(t); len(failed) == 0 {
			t.Error("another key is used")
		}
	})
}

// A check names iam:PassRole when the machines have a profile whose role may not be given.
func TestCheckNamesPassRole(t *testing.T) {
	t.Parallel()
	profile := Config{InstanceProfile: "backup"}
	f := newFake(t, profile, allowed(policyFor(t, rights)))
	if err := f.Check(t.Context()); err != nil {
		t.Errorf("allowed: %v", err)
	}
	for name, r := range map[string]Rights{"no role": {Fleet: fleet, Region: ec2lab.Region},
		"another role": {Fleet: fleet, Region: ec2lab.Region, Role: rights.Role + "2"}} {
		f := newFake(t, profile, allowed(policyFor(t, r)))
		if err := f.Check(t.Context()); err == nil ||
			!strings.Contains(err.Error(), "allow iam:PassRole to the control plane") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := f.CreateMachine(t.Context(), newMachine); !errors.Is(err,
			provider.ErrDenied) || !strings.Contains(err.Error(), "iam:PassRole") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPolicyWantsARNs(t *testing.T) {
	t.Parallel()
	for _, r := range []Rights{{Keys: []string{"alias/databases"}}, {Keys: []string{""}},
		{Keys: []string{`arn:aws:kms:eu-central-1:123456789012:key/*`}}, {Role: "backup"},
		{Role: "arn:aws:iam::123456789012:role/*"}} {
		if _, err := Policy(r); !errors.Is(err, provider.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
