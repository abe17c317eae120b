//go:build lab

package ec2lab_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// once makes a fault of the first call of an action.
func once(action string, fault ec2lab.Fault) func(string) ec2lab.Fault {
	var done atomic.Bool
	return func(called string) ec2lab.Fault {
		if called == action && done.CompareAndSwap(false, true) {
			return fault
		}
		return ec2lab.Fault{}
	}
}

func settled[T any](t *testing.T, what string, look func() (T, error), good func(T) bool) T {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(3 * time.Minute)
	for {
		value, err := look()
		if err == nil && good(value) {
			return value
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not %s: %+v, %v", what, value, err)
		}
	}
}

func TestBehaviour(t *testing.T) {
	l := newLab(t, "behaviour", ec2lab.Behaviour{})
	p := l.provider(t)
	behaviour := func(t *testing.T, m ec2lab.Behaviour) {
		t.Helper()
		m.Consistency, m.Access = 300*time.Millisecond, documented(t, fleet)
		l.server.SetBehaviour(m)
	}
	newVolume := func(t *testing.T, token string) provider.Volume {
		t.Helper()
		v, err := p.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: token,
			SizeBytes: 1 << 30, Tags: map[string]string{"token": token}})
		if err != nil {
			t.Fatal(err)
		}
		return settled(t, "available",
			func() (provider.Volume, error) { return p.GetVolume(t.Context(), v.ID) },
			func(v provider.Volume) bool { return v.State == provider.VolumeAvailable })
	}
	m, err := p.CreateMachine(t.Context(), provider.CreateMachineRequest{ClientToken: "m",
		Name: "host", Image: "test-masked", UserData: []byte("first token")})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, "running",
		func() (provider.Machine, error) { return p.GetMachine(t.Context(), m.ID) },
		func(m provider.Machine) bool { return m.State == provider.MachineRunning })

	t.Run("a newer join file makes no second machine", func(t *testing.T) {
		again, err := p.CreateMachine(t.Context(), provider.CreateMachineRequest{ClientToken: "m",
			Name: "host", Image: "test-masked", UserData: []byte("second token")})
		if err != nil || again.ID != m.ID {
			t.Errorf("made %s, %v, not %s", again.ID, err, m.ID)
		}
	})
	t.Run("sealed", func(t *testing.T) {
		for range 2 {
			if err := p.SealMachine(t.Context(), m.ID); err != nil {
				t.Fatal(err)
			}
		}
		if state := l.server.Metadata(m.ID); state != "disabled required" {
			t.Errorf("metadata service is %s", state)
		}
	})
	t.Run("snapshot whose answer is lost is found", func(t *testing.T) {
		behaviour(t, ec2lab.Behaviour{})
		v := newVolume(t, "snapshotted")
		behaviour(t, ec2lab.Behaviour{Fault: once("CreateSnapshot",
			ec2lab.Fault{LoseAnswer: true})})
		tags := map[string]string{"lost": "snapshot"}
		s, err := p.CreateSnapshot(t.Context(), provider.CreateSnapshotRequest{VolumeID: v.ID,
			Tags: tags})
		if err != nil {
			t.Fatal(err)
		}
		if list, err := p.ListSnapshots(t.Context(), provider.Filter{Tags: tags}); err != nil ||
			len(list) != 1 || list[0].ID != s.ID {
			t.Errorf("there are %+v, %v", list, err)
		}
	})
	t.Run("attachment whose answer is lost is made once, and the device appears late",
		func(t *testing.T) {
			behaviour(t, ec2lab.Behaviour{})
			v := newVolume(t, "attached")
			behaviour(t, ec2lab.Behaviour{DeviceDelay: time.Second,
				Fault: once("AttachVolume", ec2lab.Fault{LoseAnswer: true})})
			_, err := p.AttachVolume(t.Context(), v.ID, m.ID)
			if err != nil && codeless(err) {
				err = nil // the caller looks
			}
			if err != nil {
				t.Fatal(err)
			}
			settled(t, "attached",
				func() (provider.Volume, error) { return p.GetVolume(t.Context(), v.ID) },
				func(v provider.Volume) bool {
					return v.Attachment == provider.AttachmentAttached && v.MachineID == m.ID
				})
			if _, err := p.AttachVolume(t.Context(), v.ID, m.ID); !errors.Is(err,
				provider.ErrInUse) ||
				provider.HeldBy(err) != m.ID {
				t.Errorf("attaching again: %v", err)
			}
			settled(t, "on the host", func() (string, error) {
				return l.nspawn.Exec(t.Context(), labMachine(m.ID),
					nspawn.Command{Argv: []string{"ls",
						"/dev/disk/by-id/" + p.DeviceNames(v.ID)[0]}})
			}, func(string) bool { return true })
		})
	t.Run("volume that stays creating", func(t *testing.T) {
		behaviour(t, ec2lab.Behaviour{Fault: once("CreateVolume",
			ec2lab.Fault{Slow: ec2lab.ForEver})})
		v, err := p.CreateVolume(t.Context(), provider.CreateVolumeRequest{ClientToken: "stuck",
			SizeBytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.AttachVolume(t.Context(), v.ID, m.ID); !errors.Is(err,
			provider.ErrIncorrectState) {
			t.Errorf("attaching what is creating: %v", err)
		}
	})
	t.Run("creation whose answer is lost is made once", func(t *testing.T) {
		behaviour(t, ec2lab.Behaviour{Fault: once("CreateVolume", ec2lab.Fault{LoseAnswer: true})})
		newVolume(t, "lost")
		if list, err := p.ListVolumes(t.Context(),
			provider.Filter{Tags: map[string]string{"token": "lost"}}); err != nil ||
			len(list) != 1 {
			t.Errorf("there are %+v, %v", list, err)
		}
	})
	t.Run("no machine whose volumes cannot be told apart", func(t *testing.T) {
		behaviour(t, ec2lab.Behaviour{})
		for kind, says := range map[string]string{"t2.large": "choose a Nitro type",
			"m9.huge": "m9.huge"} {
			xen, err := ec2.New(t.Context(), ec2.Config{Region: ec2lab.Region, Endpoint: l.url,
				InstanceType: kind, Subnets: ec2lab.Subnets(), Fleet: fleet})
			if err != nil {
				t.Fatal(err)
			}
			if err := xen.Check(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("check says of %s: %v", kind, err)
			}
			req := provider.CreateMachineRequest{ClientToken: kind, Name: "xen",
				Image: "test-masked", Tags: map[string]string{"token": kind}}
			if _, err := xen.CreateMachine(t.Context(), req); !errors.Is(err,
				provider.ErrInvalid) || !strings.Contains(err.Error(), says) {
				t.Errorf("a machine of type %s: %v", kind, err)
			}
			if made, err := xen.ListMachines(t.Context(),
				provider.Filter{Tags: req.Tags}); err != nil || len(made) > 0 {
				t.Errorf("machines of type %s: %v, %v", kind, made, err)
			}
		}
	})
	t.Run("throttled for long", func(t *testing.T) {
		behaviour(
			t, ec2lab.Behaviour{Fault: func(
				string) ec2lab.Fault {
				return ec2lab.Fault{Refuse: "RequestLimitExceeded"}
			}})
		_, err := p.GetMachine(t.Context(), m.ID)
		if after, ok := provider.RetryAfter(err); !ok || after <= 0 {
			t.Errorf("throttled: %v", err)
		}
	})
	t.Run("check names what is not allowed", func(t *testing.T) {
		behaviour(t, ec2lab.Behaviour{})
		if err := p.Check(t.Context()); err != nil {
			t.Error(err)
		}
		behaviour(t, ec2lab.Behaviour{Denied: []string{"CreateSnapshot",
			"DescribeVolumesModifications"}})
		err := p.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(),
			"allow ec2:DescribeVolumesModifications, ec2:CreateSnapshot to") {
			t.Errorf("check says %v", err)
		}
		behaviour(t, ec2lab.Behaviour{Denied: []string{"DescribeVolumes"}})
		if _, err := p.ListVolumes(t.Context(), provider.Filter{}); !errors.Is(err,
			provider.ErrDenied) {
			t.Errorf("denied: %v", err)
		}
	})
}

// codeless is an error that EC2 did not answer.
func codeless(err error) bool {
	var e *errs.Error
	return !errors.As(err, &e)
}
