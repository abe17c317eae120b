//go:build lab

package systemd_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestTransientUnits(t *testing.T) {
	m := manager(t)
	const name = "understudy-test.service"
	spec := systemd.TransientSpec{Description: "test", Exec: []string{"/bin/sleep", "infinity"},
		RuntimeMax:   5 * time.Second,
		ExecStopPost: [][]string{{"/bin/touch", "/run/t-post"}}}
	os.Remove("/run/t-post")
	if err := m.StartTransient(t.Context(), name, spec); err != nil {
		t.Fatal(err)
	}
	err := m.StartTransient(t.Context(), name, spec)
	want(t, err, errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS)
	lab.Eventually(t, time.Minute, "its limit ends it and what follows runs",
		func() bool { _, err := os.Stat("/run/t-post"); return err == nil })
	lab.Eventually(t, time.Minute, "the unit is gone",
		func() bool { _, err := m.Get(t.Context(), name); return errors.Is(err, errs.NotFound) })
	if err := m.StopTransient(t.Context(), name); err != nil {
		t.Errorf("stop of what is gone: %v", err)
	}
	if err := m.StartTransient(t.Context(), "sshd.service", spec); !errors.Is(err,
		errs.PermissionDenied) {
		t.Errorf("a transient unit in a host's unit's place: %v", err)
	}
}

// What a unit of the agent's does not need, it cannot do, as the kernel has it.
func TestTransientUnitsAreConfined(t *testing.T) {
	m := manager(t)
	const name = "understudy-confined.service"
	if err := m.StartTransient(t.Context(), name, systemd.TransientSpec{
		Exec: []string{"/bin/sh", "-c", "cat /proc/self/status /proc/self/limits >/run/t-status; " +
			"sleep infinity"}, RuntimeMax: time.Minute}); err != nil {
		t.Fatal(err)
	}
	var status string
	lab.Eventually(t, time.Minute, "it says what it can do", func() bool {
		data, err := os.ReadFile("/run/t-status")
		status = string(data)
		return err == nil && strings.Contains(status, "Max core file size")
	})
	for _, line := range []string{
		`CapBnd:\t000000000028000f`, // chown, DAC, fowner, ptrace, sys_admin
		`NoNewPrivs:\t1`, `Seccomp:\t2`, `Max core file size +0 +0 `} {
		if !regexp.MustCompile(`(?m)^` + line).MatchString(status) {
			t.Errorf("it has no line %q:\n%s", line, status)
		}
	}
	if err := m.StopTransient(t.Context(), name); err != nil {
		t.Error(err)
	}
}

func TestTransientNotify(t *testing.T) {
	m := manager(t)
	spec := systemd.TransientSpec{Exec: []string{"/bin/sh", "-c",
		"sleep 0.3; systemd-notify --ready; sleep infinity"}, Type: "notify",
		TimeoutStart: time.Minute}
	start := time.Now()
	if err := m.StartTransient(t.Context(), "understudy-notify.service", spec); err != nil ||
		time.Since(start) < 300*time.Millisecond {
		t.Fatalf("after %s: %v", time.Since(start), err)
	}
	if err := m.StopTransient(t.Context(), "understudy-notify.service"); err != nil {
		t.Fatal(err)
	}
	spec.Exec = []string{"/bin/false"}
	err := m.StartTransient(t.Context(), "understudy-notify.service", spec)
	want(t, err, errs.Internal, errorsv1.Reason_REASON_UNIT_FAILED)
}

func TestTransientTimer(t *testing.T) {
	m := manager(t)
	os.Remove("/run/t-timer")
	spec := systemd.TransientSpec{Exec: []string{"/bin/touch", "/run/t-timer"}, Type: "oneshot"}
	if err := m.StartTransientTimer(t.Context(), "understudy-timer.service", time.Hour,
		spec); err != nil {
		t.Fatal(err)
	}
	if err := m.StartTransientTimer(t.Context(), "understudy-timer.service", 300*time.Millisecond,
		spec); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, time.Minute, "the timer fires",
		func() bool { _, err := os.Stat("/run/t-timer"); return err == nil })
	if err := m.StopTransient(t.Context(), "understudy-timer.timer"); err != nil {
		t.Error(err)
	}
}

// TestATimerThatTwoReplace has an agent and the one before it, whose calls come late.
func TestATimerThatTwoReplace(t *testing.T) {
	spec := systemd.TransientSpec{Exec: []string{"/bin/true"}, Type: "oneshot"}
	var both sync.WaitGroup
	for range 2 {
		m := manager(t)
		both.Go(func() {
			for range 20 {
				if err := m.StartTransientTimer(t.Context(), "understudy-twice.service", time.Hour,
					spec); err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	if err := manager(t).StopTransient(t.Context(), "understudy-twice.timer"); err != nil {
		t.Error(err)
	}
}
