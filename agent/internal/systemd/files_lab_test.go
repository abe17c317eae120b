//go:build lab

package systemd_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/agent/internal/systemd"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestFiles(t *testing.T) {
	m := manager(t)
	name := unit(t, "files", sleeps)
	for step, do := range []func(context.Context, string) (systemd.Unit, bool,
		error){m.Files.Enable,
		m.Files.Disable, m.Files.Mask, m.Files.Unmask} {
		u, changed, err := do(t.Context(), name)
		if err != nil || !changed {
			t.Fatalf("step %d: %+v, %v, %v", step, u, changed, err)
		}
		expected := []string{"enabled", "disabled", "masked", "disabled"}[step]
		if u.FileState != expected {
			t.Errorf("step %d: file is %s, want %s", step, u.FileState, expected)
		}
		if _, changed, err := do(t.Context(), name); err != nil || changed {
			t.Errorf("step %d again: %v, %v", step, changed, err)
		}
	}
	lab.Run(t, "systemctl", "start", name)
	_, _, err := m.Files.Mask(t.Context(), name)
	want(t, err, errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_WRONG_STATE)
}

func TestDropIns(t *testing.T) {
	m := manager(t)
	name := unit(t, "dropin", sleeps)
	content := "[Unit]\nAfter=srv-mariadb.mount\n[Service]\nLimitNOFILE=4242\n"
	for i, expected := range []bool{true, false} {
		if changed, err := m.Files.SetDropIn(t.Context(), name, "understudy.conf",
			content); err != nil ||
			changed != expected {
			t.Fatalf("set %d: %v, %v", i, changed, err)
		}
	}
	if got := lab.Run(t, "systemctl", "show", "-P", "LimitNOFILE", name); got != "4242" {
		t.Errorf("LimitNOFILE = %s", got)
	}
	for i, expected := range []bool{true, false} {
		if changed, err := m.Files.DeleteDropIn(t.Context(), name, "understudy.conf"); err != nil ||
			changed != expected {
			t.Fatalf("delete %d: %v, %v", i, changed, err)
		}
	}
}

func TestWatchTellsOfEveryState(t *testing.T) {
	m := manager(t)
	name := unit(t, "watch", sleeps)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	states := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- m.Watch(ctx, []string{name},
			func(u systemd.Unit) error { states <- u.Active; return nil })
	}()
	next := func(expected string) {
		t.Helper()
		for {
			select {
			case state := <-states:
				if state == expected {
					return
				}
			case <-ctx.Done():
				t.Fatalf("never told of %s", expected)
			}
		}
	}
	next("inactive")
	lab.Run(t, "systemctl", "start", name)
	next("active")
	lab.Run(t, "systemctl", "kill", "-s", "KILL", name)
	next("failed")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v", err)
	}
}

func TestTailFollows(t *testing.T) {
	m := manager(t)
	name := unit(t, "tail", "ExecStart=/bin/sh -c 'echo first; while ! test -e /run/t-tail; do "+
		"sleep 0.05; done; echo second; sleep infinity'")
	t.Cleanup(func() { os.Remove("/run/t-tail") })
	lab.Run(t, "systemctl", "start", name)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	enough := errors.New("enough")
	err := m.Journal.Tail(ctx, name, 100, true, func(e systemd.Entry) error {
		switch e.Message {
		case "first":
			lab.Write(t, "/run/t-tail", "")
		case "second":
			if e.Identifier != "sh" || e.Time.IsZero() || e.Cursor == "" {
				t.Errorf("entry = %+v", e)
			}
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
}
