// Package providertest is what every provider must pass. It is imported from tests alone.
package providertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

const (
	defaultLimit = 90 * time.Second
	defaultPoll  = 20 * time.Millisecond
)

// Subject is the provider under test and what the suite needs to look inside machines.
type Subject struct {
	// Provider is empty, and removed by whoever made it.
	Provider provider.Provider
	// Image has a default volume with a filesystem on it; its units do not matter.
	Image string
	// Unit is the smallest step of a volume's size; default 16 MiB.
	Unit int64
	// OtherZone is a zone that is not the default; empty when there is none.
	OtherZone string
	// Run runs a command as root in a machine and gives its output.
	Run func(ctx context.Context, machineID string, argv ...string) (string, error)
	// Limit is how long the suite waits for any one state, and Poll how often it looks; default
	// 90 s and 20 ms.
	Limit, Poll time.Duration
	// Tidy terminates each machine at the end of its test: they cost.
	Tidy bool
}

// Run runs the suite on one provider, made by the function.
func Run(t *testing.T, subject func(t *testing.T) Subject) {
	s := &suite{Subject: subject(t)}
	s.Unit = cmp.Or(s.Unit, 16<<20)
	s.Limit, s.Poll = cmp.Or(s.Limit, defaultLimit), cmp.Or(s.Poll, defaultPoll)
	t.Run("group", func(t *testing.T) {
		tests := map[string]func(*testing.T){
			"not found": s.notFound, "bad input": s.badInput, "tokens": s.tokens, "tags": s.tags,
			"volume": s.volume, "snapshot states": s.snapshotStates,
			"attach": s.attach, "attach many": s.attachMany, "what was made is listed": s.listed,
			"detach while mounted": s.detachMounted, "point in time": s.pointInTime, "grow": s.grow,
			"default volume": s.defaultVolume, "power": s.power, "terminate": s.terminate,
		}
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
}

type suite struct {
	Subject
	tokenCount atomic.Int64
}

func (s *suite) token() string { return fmt.Sprintf("token-%d", s.tokenCount.Add(1)) }

// must fails the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// later says that a provider asks for patience, as it may not show yet what it made.
func later(err error) bool {
	_, wait := provider.RetryAfter(err)
	return wait
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: error is %v, not of kind %v", what, err, kind)
	}
}

// until polls as callers of a cloud do.
func (s *suite) until(t *testing.T, what string, look func() (done bool, seen string)) {
	t.Helper()
	ticker := time.NewTicker(s.Poll)
	defer ticker.Stop()
	deadline := time.After(s.Limit)
	for {
		done, seen := look()
		if done {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not %s after %s: %s", what, s.Limit, seen)
		}
	}
}

func (s *suite) untilMachine(t *testing.T, id string, want provider.MachineState) provider.Machine {
	t.Helper()
	var m provider.Machine
	s.until(t, "machine "+string(want), func() (bool, string) {
		var err error
		if m, err = s.Provider.GetMachine(t.Context(), id); later(err) {
			return false, err.Error()
		}
		must[provider.Machine](t)(m, err)
		return m.State == want, fmt.Sprintf("%+v", m)
	})
	return m
}

func (s *suite) untilVolume(t *testing.T, id string, want provider.VolumeState) provider.Volume {
	t.Helper()
	var v provider.Volume
	s.until(t, "volume "+string(want), func() (bool, string) {
		var err error
		if v, err = s.Provider.GetVolume(t.Context(), id); later(err) {
			return false, err.Error()
		}
		must[provider.Volume](t)(v, err)
		return v.State == want, fmt.Sprintf("%+v", v)
	})
	return v
}

func (s *suite) untilAttached(t *testing.T, id, machineID string) {
	t.Helper()
	s.until(t, "attached", func() (bool, string) {
		v, err := s.Provider.GetVolume(t.Context(), id)
		if later(err) {
			return false, err.Error()
		}
		must[provider.Volume](t)(v, err)
		return v.Attachment == provider.AttachmentAttached && v.MachineID == machineID,
			fmt.Sprintf("%+v", v)
	})
	s.until(t, "a device", func() (bool, string) { return s.device(t, id, machineID) != "", "" })
}

func (s *suite) untilSnapshot(t *testing.T, id string) provider.Snapshot {
	t.Helper()
	var shot provider.Snapshot
	s.until(t, "snapshot completed", func() (bool, string) {
		var err error
		if shot, err = s.Provider.GetSnapshot(t.Context(), id); later(err) {
			return false, err.Error()
		}
		must[provider.Snapshot](t)(shot, err)
		return shot.State == provider.SnapshotCompleted, fmt.Sprintf("%+v", shot)
	})
	return shot
}

func (s *suite) newMachine(t *testing.T) provider.Machine {
	t.Helper()
	m := must[provider.Machine](t)(s.Provider.CreateMachine(t.Context(),
		provider.CreateMachineRequest{
			ClientToken: s.token(), Name: "host", Image: s.Image,
			Tags: map[string]string{"test": t.Name()}}))
	if s.Tidy {
		t.Cleanup(func() {
			if err := s.Provider.TerminateMachine(context.WithoutCancel(t.Context()),
				m.ID); err != nil {
				t.Error(err)
			}
		})
	}
	return s.untilMachine(t, m.ID, provider.MachineRunning)
}

// readyMachine is one whose system has booted.
func (s *suite) readyMachine(t *testing.T) provider.Machine {
	t.Helper()
	m := s.newMachine(t)
	s.untilBooted(t, m.ID)
	return m
}

func (s *suite) untilBooted(t *testing.T, id string) {
	t.Helper()
	s.until(t, "booted", func() (bool, string) {
		out, err := s.Subject.Run(t.Context(), id, "systemctl", "is-system-running")
		state := strings.TrimSpace(out)
		return state == "running" || state == "degraded", fmt.Sprint(state, err)
	})
}

func (s *suite) newVolume(t *testing.T, request provider.CreateVolumeRequest) provider.Volume {
	t.Helper()
	request.ClientToken = s.token()
	if request.SnapshotID == "" && request.SizeBytes == 0 {
		request.SizeBytes = s.Unit
	}
	v := must[provider.Volume](t)(s.Provider.CreateVolume(t.Context(), request))
	return s.untilVolume(t, v.ID, provider.VolumeAvailable)
}

// newSnapshot waits as long as the provider asks to. A provider need not do so by itself: whoever
// takes a snapshot holds the volume still.
func (s *suite) newSnapshot(t *testing.T, req provider.CreateSnapshotRequest) provider.Snapshot {
	t.Helper()
	for {
		made, err := s.Provider.CreateSnapshot(t.Context(), req)
		after, throttled := provider.RetryAfter(err)
		if !throttled {
			return must[provider.Snapshot](t)(made, err)
		}
		select {
		case <-time.After(after):
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
}

func (s *suite) attachTo(t *testing.T, volumeID, machineID string) {
	t.Helper()
	must[provider.Volume](t)(s.Provider.AttachVolume(t.Context(), volumeID, machineID))
	s.untilAttached(t, volumeID, machineID)
}

// device is the path of the volume's device in the machine; empty while there is none.
func (s *suite) device(t *testing.T, volumeID, machineID string) string {
	t.Helper()
	for _, name := range s.Provider.DeviceNames(volumeID) {
		path := "/dev/disk/by-id/" + name
		if _, err := s.Subject.Run(t.Context(), machineID, "test", "-b", path); err == nil {
			return path
		}
	}
	return ""
}

func (s *suite) run(t *testing.T, machineID string, argv ...string) string {
	t.Helper()
	return must[string](t)(s.Subject.Run(t.Context(), machineID, argv...))
}

// write puts a text at the start of the device, on disk; read gets it.
func (s *suite) write(t *testing.T, machineID, device, text string) {
	t.Helper()
	s.run(t, machineID, "bash", "-c",
		"printf %s \"$1\" | dd of=\"$0\" bs=4096 conv=notrunc,fsync status=none", device, text)
}

func (s *suite) read(t *testing.T, machineID, device string, length int) string {
	t.Helper()
	return s.run(t, machineID, "dd", "if="+device, "bs="+fmt.Sprint(length), "count=1",
		"status=none")
}
