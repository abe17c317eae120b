//go:build lab

package mount_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/freeze"
	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// guard is the agent's own program inside the machine.
const guard = "/usr/bin/understudy-agent"

func frozenHost(t *testing.T) host {
	h := newHost(t)
	v := formatted(t, "vol-1", "ext4")
	h.ensure(t, v, mount.Request{DeviceIDs: []string{v.ID}, Path: dataPath})
	t.Cleanup(func() { freeze.Thaw(dataPath) })
	return h
}

// writable says whether a write goes through within the time.
func writable(within time.Duration) bool {
	done := make(chan error, 1)
	go func() {
		file, err := os.Create(filepath.Join(dataPath, "probe"))
		if err == nil {
			file.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err == nil
	case <-time.After(within):
		return false
	}
}

func TestAFreezeLastsAsLongAsItsCaller(t *testing.T) {
	h := frozenHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	report, err := h.mounts.Freezer.Freeze(ctx, dataPath, 30*time.Second, func(time.Time) error {
		if writable(300 * time.Millisecond) {
			t.Error("a write went through while it was frozen")
		}
		_, err := h.mounts.Freezer.Freeze(t.Context(), dataPath, time.Second,
			func(time.Time) error { return nil })
		want(t, err, errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY)
		cancel()
		return nil
	})
	if err != nil || report.Expired || report.Lasted < 300*time.Millisecond {
		t.Fatalf("%+v, %v", report, err)
	}
	if !writable(20 * time.Second) {
		t.Fatal("it is still frozen")
	}
}

func TestAFreezeEndsByItsLimit(t *testing.T) {
	h := frozenHost(t)
	report, err := h.mounts.Freezer.Freeze(t.Context(), dataPath, time.Second,
		func(time.Time) error { return nil })
	if err != nil || !report.Expired || report.Lasted > 20*time.Second {
		t.Fatalf("%+v, %v", report, err)
	}
	if !writable(20 * time.Second) {
		t.Fatal("it is still frozen")
	}
}

func TestAGuardThatIsKilled(t *testing.T) {
	h := frozenHost(t)
	_, err := h.mounts.Freezer.Freeze(t.Context(), dataPath, 30*time.Second, func(time.Time) error {
		lab.Run(t, "systemctl", "kill", "-s", "KILL", "understudy-freeze-srv-mariadb.service")
		return nil
	})
	want(t, err, errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN)
	if !writable(20 * time.Second) {
		t.Fatal("it is still frozen")
	}
}

// TestAFreezeThatTakesPlaceAfterItsEnd has the guard killed while it waits for a write, by which it
// dies only when the filesystem is frozen.
func TestAFreezeThatTakesPlaceAfterItsEnd(t *testing.T) {
	const unit = "understudy-freeze-srv-mariadb.service"
	const timer = "understudy-thaw-srv-mariadb.service"
	h := frozenHost(t)
	goOn := lab.SlowWrite(t, dataPath)
	done := make(chan error, 1)
	go func() {
		_, err := h.mounts.Freezer.Freeze(t.Context(), dataPath, 3*time.Second,
			func(time.Time) error { return nil })
		done <- err
	}()
	marker := filepath.Join("/run/understudy-agent", unit+".frozen")
	there := func() bool { _, err := os.Stat(marker); return err == nil }
	lab.Eventually(t, 20*time.Second, "it freezes", there)
	lab.AwaitStuck(t, unit)
	lab.Run(t, "systemctl", "kill", "-s", "KILL", unit)
	thaws := 0 // in a row: one that only begins may be late enough
	lab.Eventually(t, time.Minute, "the timer thaws in vain", func() bool {
		if state, _ := lab.Try("systemctl", "is-active", timer); state == "activating" {
			thaws++
		} else {
			thaws = 0
		}
		return thaws > 20 || !there()
	})
	goOn()
	if err := <-done; err == nil {
		t.Error("a guard that was killed has frozen it")
	}
	lab.Eventually(t, 20*time.Second, "the guard and the timer end", func() bool {
		_, err := lab.Try("systemctl", "is-active", unit, timer)
		return err != nil && !there()
	})
	if !writable(20 * time.Second) {
		t.Error("it is still frozen")
	}
}

func TestAFreezeOfSomebodyElseIsLeftAlone(t *testing.T) {
	h := frozenHost(t)
	other, err := freeze.Open(dataPath)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Freeze(); err != nil {
		t.Fatal(err)
	}
	_, err = h.mounts.Freezer.Freeze(t.Context(), dataPath, 5*time.Second,
		func(time.Time) error { return nil })
	want(t, err, errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BUSY)
	if frozen, err := other.Frozen(); !frozen || err != nil {
		t.Errorf("somebody else's freeze was thawed: %v", err)
	}
	if thawed, err := other.Thaw(); !thawed || err != nil {
		t.Errorf("Thaw = %v, %v", thawed, err)
	}
	if frozen, err := other.Frozen(); frozen || err != nil {
		t.Errorf("Frozen = %v, %v", frozen, err)
	}
}

func TestWhatCannotBeFrozen(t *testing.T) {
	h := newHost(t)
	_, err := h.mounts.Freezer.Freeze(t.Context(), dataPath, time.Second,
		func(time.Time) error { return nil })
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_NOT_MOUNTED)
	_, err = h.mounts.Freezer.Freeze(t.Context(), "/", time.Second,
		func(time.Time) error { return nil })
	if !errors.Is(err, errs.InvalidArgument) {
		t.Errorf("Freeze(/) = %v", err)
	}
}
