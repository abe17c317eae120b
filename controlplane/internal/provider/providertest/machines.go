package providertest

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func (s *suite) defaultVolumeOf(t *testing.T, machineID string) provider.Volume {
	t.Helper()
	var found []provider.Volume
	for _, v := range must[[]provider.Volume](t)(s.Provider.ListVolumes(t.Context(),
		provider.Filter{MachineID: machineID})) {
		if v.Default {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		t.Fatalf("machine has %d default volumes", len(found))
	}
	return found[0]
}

// defaultVolume does what a job that replaces it does.
func (s *suite) defaultVolume(t *testing.T) {
	m := s.readyMachine(t)
	original := s.defaultVolumeOf(t, m.ID)
	if original.State != provider.VolumeInUse || !original.DeleteOnTermination ||
		original.SnapshotID != "" {
		t.Errorf("default volume is %+v", original)
	}
	s.untilAttached(t, original.ID, m.ID)
	device := s.device(t, original.ID, m.ID)
	s.run(t, m.ID, "blkid", "-p", device)
	// The image may have mounted it: a detach waits for that.
	_, _ = s.Subject.Run(t.Context(), m.ID, "umount", device)
	must[provider.Volume](t)(s.Provider.DetachVolume(t.Context(), original.ID, m.ID))
	s.untilVolume(t, original.ID, provider.VolumeAvailable)
	if err := s.Provider.DeleteVolume(t.Context(), original.ID); err != nil {
		t.Fatal(err)
	}
	mine := s.newVolume(t, provider.CreateVolumeRequest{})
	s.attachTo(t, mine.ID, m.ID)
	list := must[[]provider.Volume](t)(s.Provider.ListVolumes(t.Context(),
		provider.Filter{MachineID: m.ID}))
	if len(list) != 1 || list[0].ID != mine.ID || list[0].Default {
		t.Errorf("machine has %+v", list)
	}
}

func (s *suite) power(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	v, m := s.newVolume(t, provider.CreateVolumeRequest{}), s.readyMachine(t)
	s.attachTo(t, v.ID, m.ID)
	s.write(t, m.ID, s.device(t, v.ID, m.ID), "kept")
	before := s.bootID(t, m.ID)
	if err := p.RebootMachine(ctx, m.ID); err != nil {
		t.Fatal(err)
	}
	s.until(t, "another boot", func() (bool, string) {
		id, err := s.Subject.Run(ctx, m.ID, "cat", "/proc/sys/kernel/random/boot_id")
		return err == nil && id != before, id
	})
	s.wantKept(t, v, m)
	for range 2 {
		if err := p.StopMachine(ctx, m.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.untilMachine(t, m.ID, provider.MachineStopped)
	wantKind(t, "rebooting what is off", p.RebootMachine(ctx, m.ID), provider.ErrIncorrectState)
	second := s.newVolume(t, provider.CreateVolumeRequest{})
	must[provider.Volume](t)(p.AttachVolume(ctx, second.ID, m.ID))
	for range 2 {
		if err := p.StartMachine(ctx, m.ID); err != nil {
			t.Fatal(err)
		}
	}
	again := s.untilMachine(t, m.ID, provider.MachineRunning)
	if again.Address != m.Address || !again.StartedAt.After(m.StartedAt) {
		t.Errorf("machine was %+v and is %+v", m, again)
	}
	s.wantKept(t, v, m)
	s.untilAttached(t, second.ID, m.ID)
}

func (s *suite) bootID(t *testing.T, machineID string) string {
	t.Helper()
	return s.run(t, machineID, "cat", "/proc/sys/kernel/random/boot_id")
}

func (s *suite) wantKept(t *testing.T, v provider.Volume, m provider.Machine) {
	t.Helper()
	s.untilBooted(t, m.ID)
	s.untilAttached(t, v.ID, m.ID)
	if got := s.read(t, m.ID, s.device(t, v.ID, m.ID), 4); got != "kept" {
		t.Errorf("volume holds %q", got)
	}
}

func (s *suite) terminate(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	request := provider.CreateMachineRequest{ClientToken: s.token(), Name: "short-lived",
		Image: s.Image, Tags: map[string]string{"a": "b"}}
	m := must[provider.Machine](t)(p.CreateMachine(ctx, request))
	request.UserData = []byte("a newer join file")
	if again := must[provider.Machine](t)(p.CreateMachine(ctx, request)); again.ID != m.ID {
		t.Errorf("one token made %s and %s", m.ID, again.ID)
	}
	request.Name = "other"
	_, err := p.CreateMachine(ctx, request)
	wantKind(t, "token used for another name", err, provider.ErrTokenReused)
	v := s.newVolume(t, provider.CreateVolumeRequest{})
	s.untilMachine(t, m.ID, provider.MachineRunning)
	original := s.defaultVolumeOf(t, m.ID)
	s.attachTo(t, v.ID, m.ID)
	for range 2 {
		if err := p.TerminateMachine(ctx, m.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.untilMachine(t, m.ID, provider.MachineTerminated)
	s.untilVolume(t, v.ID, provider.VolumeAvailable)
	s.until(t, "default volume deleted", func() (bool, string) {
		gone, err := p.GetVolume(ctx, original.ID)
		return err != nil, string(gone.State)
	})
	wantKind(t, "starting what is terminated", p.StartMachine(ctx, m.ID),
		provider.ErrIncorrectState)
	wantKind(t, "stopping what is terminated", p.StopMachine(ctx, m.ID), provider.ErrIncorrectState)
	_, err = p.AttachVolume(ctx, v.ID, m.ID)
	wantKind(t, "attaching to what is terminated", err, provider.ErrIncorrectState)
}
