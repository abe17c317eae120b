//go:build lab

package mount_test

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/agent/internal/lab"
)

// TestASlowMountIsWaitedFor has a helper of mount take longer than systemd gives a unit by itself.
func TestASlowMountIsWaitedFor(t *testing.T) {
	const limit, helper = "/etc/systemd/system.conf.d/limit.conf", "/sbin/mount.ext4"
	h := newHost(t)
	v := formatted(t, "vol-s", "ext4")
	for path, text := range map[string]string{
		limit:  "[Manager]\nDefaultTimeoutStartSec=2s\n",
		helper: "#!/bin/sh\nsleep 6\nexec mount -i -t ext4 \"$@\"\n",
	} {
		if err := os.MkdirAll("/etc/systemd/system.conf.d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
	}
	t.Cleanup(func() { lab.Try("systemctl", "daemon-reexec") })
	lab.Run(t, "systemctl", "daemon-reexec")
	said := []string{}
	result, err := h.mounts.Ensure(t.Context(), request(v),
		func(line string) { said = append(said, line) })
	if err != nil {
		t.Fatalf("%v; said: %q", err, said)
	}
	if !changed(result, "mounted") || !strings.Contains(strings.Join(said, "\n"), "mounting") {
		t.Errorf("changes %q, said %q", result.Changes, said)
	}
}
