//go:build lab

package nspawn_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/lab/faults"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func TestFaultsAreWhatCallersSee(t *testing.T) {
	t.Parallel()
	p := newLab(t, "faults")
	f := faults.New(p, faults.Config{DeviceDelay: 300 * time.Millisecond,
		LoseAnswers:   map[string]int{"CreateVolume": 1},
		FailSnapshots: 1, StickVolumes: 1})
	t.Cleanup(f.Close)
	m := createMachine(t, p, "host", "test-masked")
	untilState(t, p, m.ID, provider.MachineRunning)
	if _, err := f.CreateVolume(t.Context(), volumeRequest("one")); !errors.Is(err,
		faults.ErrAnswerLost) {
		t.Fatalf("first answer: %v", err)
	}
	v, err := f.CreateVolume(t.Context(), volumeRequest("one"))
	if err != nil {
		t.Fatal(err)
	}
	untilAvailable(t, p, v.ID)
	if stuck, err := f.GetVolume(t.Context(), v.ID); err != nil ||
		stuck.State != provider.VolumeCreating {
		t.Errorf("stuck volume is %+v, error %v", stuck, err)
	}
	f.Unstick()
	begun := time.Now()
	if v, err = f.AttachVolume(t.Context(), v.ID, m.ID); err != nil ||
		v.Attachment != provider.AttachmentAttaching {
		t.Fatalf("attaching volume is %+v, error %v", v, err)
	}
	if _, err := f.AttachVolume(t.Context(), v.ID, m.ID); provider.HeldBy(err) != m.ID {
		t.Errorf("attaching again: %v", err)
	}
	answers(t, p, m.ID, "test", "-b", "/dev/disk/by-id/"+p.DeviceNames(v.ID)[0])
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("the device came after %s", took)
	}
	s, err := f.CreateSnapshot(t.Context(), provider.CreateSnapshotRequest{VolumeID: v.ID})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "failed", func() (bool, string) {
		s, err = f.GetSnapshot(t.Context(), s.ID)
		return err == nil && s.State == provider.SnapshotError, fmt.Sprint(s, err)
	})
	throttled := faults.New(p, faults.Config{ThrottleEvery: 2, RetryAfter: time.Second})
	_, first := throttled.GetMachine(t.Context(), m.ID)
	_, second := throttled.GetMachine(t.Context(), m.ID)
	if after, ok := provider.RetryAfter(second); first != nil || !ok || after != time.Second {
		t.Errorf("throttled calls: %v, %v", first, second)
	}
}
