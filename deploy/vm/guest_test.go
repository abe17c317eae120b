//go:build vm

package vm

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// awaitGuest waits until the guest's agent answers.
func (m *machine) awaitGuest(t *testing.T) {
	t.Helper()
	await(t, m.name+" answers", func() bool { return m.greet(t.Context()) == nil })
}

// greet connects to the guest's agent anew: what an earlier one did not answer is gone.
func (m *machine) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m.guest.close()
	var err error
	if m.guest, err = dial(ctx, m.path("guest")); err != nil {
		return err
	}
	id, got := time.Now().UnixMilli(), int64(0)
	for got != id {
		if err = m.guest.call(ctx, "guest-sync", map[string]any{"id": id}, &got); err != nil {
			return err
		}
	}
	return nil
}

// try runs a script on the guest, as root.
func (m *machine) try(ctx context.Context, script string) (string, error) {
	return m.feed(ctx, script, "")
}

// feed is try with an input.
func (m *machine) feed(ctx context.Context, script, input string) (string, error) {
	var process struct{ PID int }
	if err := m.guest.call(ctx, "guest-exec", map[string]any{"path": "/bin/bash",
		"arg": []string{"-euo", "pipefail", "-c", script}, "input-data": []byte(input),
		"capture-output": true, "env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root"}}, &process); err != nil {
		return "", err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var status struct {
			Exited   bool
			ExitCode int
			Signal   int
			Out      []byte `json:"out-data"`
			Err      []byte `json:"err-data"`
		}
		if err := m.guest.call(ctx, "guest-exec-status", map[string]any{"pid": process.PID},
			&status); err != nil {
			return "", err
		}
		if status.Exited && status.ExitCode == 0 && status.Signal == 0 {
			return strings.TrimSpace(string(status.Out)), nil
		}
		if status.Exited {
			return string(status.Out), fmt.Errorf("exit status %d on %s: %s", status.ExitCode,
				m.name, strings.TrimSpace(string(status.Err)))
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-m.exited:
			return "", fmt.Errorf("%s is off", m.name)
		case <-tick.C:
		}
	}
}

// run is try, and fails the test when the script fails.
func (m *machine) run(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), slow)
	defer cancel()
	out, err := m.try(ctx, script)
	if err != nil {
		t.Fatalf("on %s: %s\n%v\n%s", m.name, script, err, out)
	}
	return out
}

// sql runs statements as MariaDB's root.
func (m *machine) sql(t *testing.T, statements string) string {
	t.Helper()
	out, err := m.trySQL(t.Context(), statements)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (m *machine) trySQL(ctx context.Context, statements string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	return m.feed(ctx, "mariadb --batch --skip-column-names", statements)
}

// await waits until it is true.
func await(t *testing.T, what string, isTrue func() bool) {
	t.Helper()
	limit := time.After(slow)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !isTrue() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within %s: %s", slow, what)
		case <-t.Context().Done():
			t.Fatalf("not before the test's end: %s", what)
		}
	}
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// reboot restarts the guest's system, and waits until the new one answers.
func (m *machine) reboot(t *testing.T) {
	t.Helper()
	const boot = "cat /proc/sys/kernel/random/boot_id"
	before := m.run(t, boot)
	m.run(t, "systemctl reboot --no-block")
	await(t, m.name+" boots", func() bool {
		if m.greet(t.Context()) != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		now, err := m.try(ctx, boot)
		return err == nil && now != before
	})
}

// setClock sets the guest's clock to this box's.
func (m *machine) setClock(t *testing.T) {
	t.Helper()
	m.run(t, fmt.Sprintf("date --set @%d", time.Now().Unix()))
}
