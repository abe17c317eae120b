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

// EC2 says "unauthorized" of what is gone, for its tags are. Cleaning up ends all the same.
func TestGoneIsNotUnauthorized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		ctx := t.Context()
		m, err := f.CreateMachine(ctx, newMachine)
		if err != nil {
			t.Fatal(err)
		}
		v := f.newVolume(t, "v", nil)
		s := f.cut(t, v)
		time.Sleep(time.Hour)
		if err := errors.Join(f.DeleteVolume(ctx, v), f.DeleteSnapshot(ctx, s),
			f.TerminateMachine(ctx, m.ID)); err != nil {
			t.Fatal(err)
		}
		f.memory.Forget(strings.Replace(m.ID, "i-0ec2a", "i-", 1))
		p := f.another(t, Config{})
		for name, call := range map[string]func() error{
			"TerminateMachine": func() error { return p.TerminateMachine(ctx, m.ID) },
			"StopMachine":      func() error { return p.StopMachine(ctx, m.ID) },
			"DeleteVolume":     func() error { return p.DeleteVolume(ctx, v) },
			"DeleteSnapshot":   func() error { return p.DeleteSnapshot(ctx, s) },
			"SetTags": func() error {
				return p.SetTags(ctx, v, map[string]string{"a": "b"})
			},
			"CreateSnapshot": func() error {
				_, err := p.CreateSnapshot(ctx, provider.CreateSnapshotRequest{VolumeID: v})
				return err
			},
			"CreateVolume": func() error {
				_, err := p.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: "c",
					SnapshotID: s})
				return err
			},
		} {
			if err := call(); !errors.Is(err, provider.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A terminated instance loses its tags while it is shown still.
func TestTerminatedMachineIsNotUnauthorized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Access: ec2lab.Access{EndedUntagged: true,
			Policy: policyOf(t, ec2lab.Region)}})
		m, err := f.CreateMachine(t.Context(), newMachine)
		if err != nil {
			t.Fatal(err)
		}
		v := f.newVolume(t, "v", nil)
		for range 2 {
			if err := f.TerminateMachine(t.Context(), m.ID); err != nil {
				t.Error(err)
			}
		}
		_, attached := f.AttachVolume(t.Context(), v, m.ID)
		_, detached := f.DetachVolume(t.Context(), v, m.ID)
		for what, err := range map[string]error{"start": f.StartMachine(t.Context(), m.ID),
			"stop": f.StopMachine(t.Context(), m.ID), "attach": attached, "detach": detached} {
			if !errors.Is(err, provider.ErrIncorrectState) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// The tags of something new are not known at once, also when another process made it.
func TestYoungIsNotUnauthorized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{Access: ec2lab.Access{TagsLate: time.Minute,
			Policy: policyOf(t, ec2lab.Region)}})
		v, err := f.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: "v",
			SizeBytes: gib})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []*Provider{f.Provider, f.another(t, Config{})} {
			err := p.SetTags(t.Context(), v.ID, map[string]string{"a": "b"})
			if after, ok := provider.RetryAfter(err); !ok || after <= 0 {
				t.Errorf("of a volume that is new: %v", err)
			}
		}
		time.Sleep(time.Minute)
		if err := f.SetTags(t.Context(), v.ID, map[string]string{"a": "b"}); err != nil {
			t.Error(err)
		}
	})
}

// A look that fails leaves open what a refusal was for: a job that took it for the policy's would
// end for good.
func TestWhatCannotBeSeenIsNotUnauthorized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, Config{}, ec2lab.Behaviour{})
		s := f.cut(t, f.newVolume(t, "v", nil))
		late := ec2lab.Behaviour{Access: ec2lab.Access{TagsLate: time.Hour,
			Policy: policyOf(t, ec2lab.Region)},
			Fault: func(action string) ec2lab.Fault {
				return ec2lab.Fault{LoseAnswer: strings.HasPrefix(action, "Describe")}
			}}
		f.server.SetBehaviour(late)
		if err := f.DeleteSnapshot(t.Context(), s); err == nil ||
			errors.Is(err, provider.ErrDenied) {
			t.Errorf("%v", err)
		}
	})
}

// What is there and not the fleet's stays denied, and the refusal says why.
func TestWhatIsNotOfTheFleetIsUnauthorized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
		f := newFake(t, Config{Fleet: "other"}, ec2lab.Behaviour{
			Access: ec2lab.Access{Policy: all}})
		v := f.newVolume(t, "v", nil)
		f.server.SetBehaviour(ec2lab.Behaviour{
			Access: ec2lab.Access{Policy: policyOf(t, ec2lab.Region)}})
		err := f.another(t, Config{}).DeleteVolume(t.Context(), v)
		if !errors.Is(err, provider.ErrDenied) ||
			!strings.Contains(err.Error(), "the tag understudy:fleet=default") {
			t.Errorf("%v", err)
		}
	})
}
