package providertest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func (s *suite) volume(t *testing.T) {
	v := s.newVolume(t, provider.CreateVolumeRequest{SizeBytes: 2 * s.Unit})
	if v.SizeBytes != 2*s.Unit || v.SnapshotID != "" || v.MachineID != "" ||
		v.Attachment != provider.AttachmentNone || v.Default {
		t.Errorf("new volume is %+v", v)
	}
	if err := s.Provider.DeleteVolume(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	s.until(t, "deleted", func() (bool, string) {
		got, err := s.Provider.GetVolume(t.Context(), v.ID)
		if err == nil && got.State != provider.VolumeDeleting &&
			got.State != provider.VolumeDeleted {
			t.Fatalf("volume being deleted is %s", got.State)
		}
		return err != nil, string(got.State)
	})
	wantKind(t, "deleting twice", s.Provider.DeleteVolume(t.Context(), v.ID), provider.ErrNotFound)
}

func (s *suite) snapshotStates(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	v := s.newVolume(t, provider.CreateVolumeRequest{SizeBytes: 2 * s.Unit})
	shot := s.newSnapshot(t, provider.CreateSnapshotRequest{VolumeID: v.ID})
	if shot.State == provider.SnapshotPending {
		_, err := p.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: s.token(),
			SnapshotID: shot.ID})
		now := must[provider.Snapshot](t)(p.GetSnapshot(ctx, shot.ID))
		if err != nil || now.State == provider.SnapshotPending { // else it was complete by then
			wantKind(t, "volume of a pending snapshot", err, provider.ErrIncorrectState)
		}
	}
	if shot = s.untilSnapshot(t, shot.ID); shot.Progress != 100 || shot.VolumeID != v.ID ||
		shot.SizeBytes != v.SizeBytes {
		t.Errorf("completed snapshot is %+v", shot)
	}
	_, err := p.CreateVolume(ctx, provider.CreateVolumeRequest{ClientToken: s.token(),
		SnapshotID: shot.ID, SizeBytes: s.Unit})
	wantKind(t, "volume smaller than its snapshot", err, provider.ErrInvalid)
	if err := p.DeleteVolume(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	larger := s.newVolume(t, provider.CreateVolumeRequest{SnapshotID: shot.ID,
		SizeBytes: 4 * s.Unit})
	if larger.SnapshotID != shot.ID || larger.SizeBytes != 4*s.Unit {
		t.Errorf("volume of a snapshot is %+v", larger)
	}
	if err := p.DeleteSnapshot(ctx, shot.ID); err != nil {
		t.Fatal(err)
	}
	_, err = p.GetSnapshot(ctx, shot.ID)
	wantKind(t, "deleted snapshot", err, provider.ErrNotFound)
	s.untilVolume(t, larger.ID, provider.VolumeAvailable)
}

func (s *suite) attach(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	v := s.newVolume(t, provider.CreateVolumeRequest{})
	m, other := s.newMachine(t), s.newMachine(t)
	if s.OtherZone != "" {
		far := s.newVolume(t, provider.CreateVolumeRequest{Zone: s.OtherZone})
		_, err := p.AttachVolume(ctx, far.ID, m.ID)
		wantKind(t, "attaching a volume of another zone", err, provider.ErrInvalid)
	}
	_, err := p.DetachVolume(ctx, v.ID, m.ID)
	wantKind(t, "detaching what is not attached", err, provider.ErrIncorrectState)
	s.attachTo(t, v.ID, m.ID)
	for _, machine := range []string{m.ID, other.ID} {
		_, err := p.AttachVolume(ctx, v.ID, machine)
		wantKind(t, "attaching twice", err, provider.ErrInUse)
		if got := provider.HeldBy(err); got != m.ID {
			t.Errorf("volume is held by %q, not %s", got, m.ID)
		}
	}
	wantKind(t, "deleting what is attached", p.DeleteVolume(ctx, v.ID), provider.ErrInUse)
	_, err = p.DetachVolume(ctx, v.ID, other.ID)
	wantKind(t, "detaching from another machine", err, provider.ErrIncorrectState)
	if s.device(t, v.ID, other.ID) != "" {
		t.Error("the device is on a machine that it is not attached to")
	}
	must[provider.Volume](t)(p.DetachVolume(ctx, v.ID, m.ID))
	if free := s.untilVolume(t, v.ID, provider.VolumeAvailable); free.MachineID != "" ||
		free.Attachment != provider.AttachmentNone {
		t.Errorf("detached volume is %+v", free)
	}
	if s.device(t, v.ID, m.ID) != "" {
		t.Error("the device stayed after the detach")
	}
	s.attachTo(t, v.ID, other.ID)
}

// attachMany gives several volumes to one machine at once: each gets a place and a device of its
// own.
func (s *suite) attachMany(t *testing.T) {
	m := s.newMachine(t)
	volumes := make([]provider.Volume, 4)
	for i := range volumes {
		volumes[i] = s.newVolume(t, provider.CreateVolumeRequest{})
	}
	var all sync.WaitGroup
	for _, v := range volumes {
		all.Go(func() {
			if _, err := s.Provider.AttachVolume(t.Context(), v.ID, m.ID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, v := range volumes {
		s.untilAttached(t, v.ID, m.ID)
	}
	must[provider.Volume](t)(s.Provider.DetachVolume(t.Context(), volumes[1].ID, m.ID))
	s.untilVolume(t, volumes[1].ID, provider.VolumeAvailable)
	s.attachTo(t, volumes[1].ID, m.ID)
}

// listed asks for what was made the moment that its making returned, as a job does that is tried
// again.
func (s *suite) listed(t *testing.T) {
	ctx, p := t.Context(), s.Provider
	v := s.newVolume(t, provider.CreateVolumeRequest{})
	for i := range 3 {
		tags := map[string]string{"listed": fmt.Sprint(i)}
		made := must[provider.Volume](t)(p.CreateVolume(ctx,
			provider.CreateVolumeRequest{ClientToken: s.token(), SizeBytes: s.Unit, Tags: tags}))
		if list := must[[]provider.Volume](t)(p.ListVolumes(ctx, provider.Filter{Tags: tags})); len(
			list) != 1 || list[0].ID != made.ID {
			t.Errorf("made volume %s, listed %+v", made.ID, list)
		}
		must[provider.Volume](t)(p.GetVolume(ctx, made.ID))
		shot := s.newSnapshot(t, provider.CreateSnapshotRequest{VolumeID: v.ID, Tags: tags})
		if list := must[[]provider.Snapshot](t)(p.ListSnapshots(ctx,
			provider.Filter{Tags: tags})); len(list) != 1 || list[0].ID != shot.ID {
			t.Errorf("made snapshot %s, listed %+v", shot.ID, list)
		}
		must[provider.Snapshot](t)(p.GetSnapshot(ctx, shot.ID))
	}
}

func (s *suite) detachMounted(t *testing.T) {
	v, m := s.newVolume(t, provider.CreateVolumeRequest{SizeBytes: 4 * s.Unit}), s.readyMachine(t)
	s.attachTo(t, v.ID, m.ID)
	s.run(t, m.ID, "mkfs.ext4", "-q", s.device(t, v.ID, m.ID))
	s.run(t, m.ID, "mount", s.device(t, v.ID, m.ID), "/mnt")
	detaching := must[provider.Volume](t)(s.Provider.DetachVolume(t.Context(), v.ID, m.ID))
	if detaching.State != provider.VolumeInUse ||
		detaching.Attachment != provider.AttachmentDetaching || detaching.MachineID != m.ID {
		t.Errorf("volume detached while mounted is %+v", detaching)
	}
	s.run(t, m.ID, "touch", "/mnt/still-there")
	s.run(t, m.ID, "umount", "/mnt")
	s.untilVolume(t, v.ID, provider.VolumeAvailable)
}

func (s *suite) pointInTime(t *testing.T) {
	v, m := s.newVolume(t, provider.CreateVolumeRequest{}), s.readyMachine(t)
	s.attachTo(t, v.ID, m.ID)
	device := s.device(t, v.ID, m.ID)
	s.write(t, m.ID, device, "before")
	first := s.newSnapshot(t, provider.CreateSnapshotRequest{VolumeID: v.ID})
	if _, byHand := s.Provider.(provider.Manual); byHand {
		s.untilSnapshot(t, first.ID) // its point in time is somewhere before that
	}
	s.write(t, m.ID, device, "after!")
	second := s.newSnapshot(t, provider.CreateSnapshotRequest{VolumeID: v.ID})
	for id, want := range map[string]string{first.ID: "before", second.ID: "after!"} {
		s.untilSnapshot(t, id)
		volume := s.newVolume(t, provider.CreateVolumeRequest{SnapshotID: id})
		s.attachTo(t, volume.ID, m.ID)
		if got := s.read(t, m.ID, s.device(t, volume.ID, m.ID), len(want)); got != want {
			t.Errorf("copy holds %q, not %q", got, want)
		}
		s.write(t, m.ID, s.device(t, volume.ID, m.ID), "copied")
	}
	if got := s.read(t, m.ID, device, 6); got != "after!" {
		t.Errorf("a write to a copy changed the volume: %q", got)
	}
}

func (s *suite) grow(t *testing.T) {
	v, m := s.newVolume(t, provider.CreateVolumeRequest{SizeBytes: 2 * s.Unit}), s.readyMachine(t)
	s.attachTo(t, v.ID, m.ID)
	_, err := s.Provider.GrowVolume(t.Context(), v.ID, s.Unit)
	wantKind(t, "shrinking", err, provider.ErrInvalid)
	for range 2 {
		if grown := must[provider.Volume](t)(s.Provider.GrowVolume(t.Context(), v.ID,
			4*s.Unit)); grown.SizeBytes != 4*s.Unit {
			t.Errorf("grown volume is %+v", grown)
		}
	}
	s.until(t, "a larger device", func() (bool, string) {
		size := strings.TrimSpace(s.run(t, m.ID, "blockdev", "--getsize64",
			s.device(t, v.ID, m.ID)))
		return size == fmt.Sprint(4*s.Unit), size
	})
}
