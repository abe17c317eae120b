//go:build lab

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLongJoin pastes the line of `token create` on a host, as a user does.
func TestLongJoin(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, stack.Config{Name: "e2e-join",
		Dir: filepath.Join("/var/lib/understudy-e2e", "join"), Provider: "manual"})
	h := &hand{lab: l, snapshots: map[string]string{}, instead: map[string]func(*cpv1.Task){}}
	host := h.tool("create", "db9", "--image", "trixie")
	awaitTrue(t, time.Minute, "db9 has booted", func() bool {
		_, err := l.Exec(t.Context(), "db9", "systemctl", "is-active", "dbus.socket")
		return err == nil
	})
	l.exec("db9", "systemctl", "disable", "--now", "understudy-agent.service")
	brief, end := l.joinLine("db9", "--ttl", "1m"), time.Now().Add(time.Minute)
	line := l.joinLine("db9")

	l.refusesEverythingAtOnce(line)
	l.joins(line, "enrolled as spiffe://understudy/agent/db9", "understudy-agent.service: enabled",
		"understudy-agent.service: started",
		"the control plane reaches the agent at "+host.Address+":7443",
		"the control plane has no server db9 yet")
	before := l.exec("db9", "systemctl", "show", "-P", "InvocationID", "understudy-agent")
	l.joins(line, "this host is spiffe://understudy/agent/db9 already")
	if l.exec("db9", "systemctl", "show", "-P", "InvocationID", "understudy-agent") != before {
		t.Error("joining again restarted the agent")
	}
	out, err := l.Exec(t.Context(), "db9", "sh", "-c", l.joinLine("db8"))
	if err == nil || !strings.Contains(err.Error(), "this host is db9's") {
		t.Errorf("db9 joins as db8: %v\n%s", err, out)
	}

	// The record is made after the agent joined, and is kept true by it all the same.
	h.instead["make_machine"] = func(task *cpv1.Task) {
		h.run("provider", "done", task.GetId(), "--address", host.Address)
	}
	h.until(h.ask("create_primary", "server", "create", "db9", "--image", "trixie"),
		cpv1.Job_STATE_SUCCEEDED)
	seen := l.server("db9").GetLastSeenTime().AsTime()
	awaitTrue(t, 30*time.Second, "the agent of db9 is observed", func() bool {
		return l.server("db9").GetLastSeenTime().AsTime().After(seen)
	})
	l.joinsAfterAPurge(line, brief, end)
}

// joinsAfterAPurge deletes what the package's purge deletes: the host has to join again, and its
// server goes on.
func (l *lab) joinsAfterAPurge(used, brief string, end time.Time) {
	l.t.Helper()
	l.exec("db9", "sh", "-ec", "systemctl disable --now understudy-agent; "+
		"rm -rf /var/lib/understudy-agent; mkdir -m 700 /var/lib/understudy-agent")
	awaitTrue(l.t, time.Minute, "db9 is out of reach", func() bool {
		return l.server("db9").GetState() == cpv1.Server_STATE_UNREACHABLE
	})
	if out, err := l.CLI(l.t.Context(), "token", "create", "db9").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "understudy token create db9 --replace=true") {
		l.t.Errorf("a second agent of db9: %v\n%s", err, out)
	}
	line := l.joinLine("db9", "--replace")
	awaitTrue(l.t, 90*time.Second, "a token of a minute has expired",
		func() bool { return time.Now().After(end) })
	typo := line[:len(line)-1] + "~"
	for refused, why := range map[string]string{used: "was used", typo: "token", brief: "expired"} {
		out, err := l.Exec(l.t.Context(), "db9", "sh", "-c", refused)
		for _, word := range []string{why, "hint", "make a new join"} {
			if err == nil || !strings.Contains(out+err.Error(), word) {
				l.t.Errorf("joins with %s, or does not say %q: %v\n%s", refused, word, err, out)
			}
		}
		if left := l.exec("db9", "find", "/var/lib/understudy-agent", "-name",
			"cert.pem"); left != "" {
			l.t.Errorf("%s left an identity: %s", refused, left)
		}
	}
	l.joins(line, "enrolled as spiffe://understudy/agent/db9")
	awaitTrue(l.t, time.Minute, "db9 is READY again", func() bool {
		return l.server("db9").GetState() == cpv1.Server_STATE_READY
	})
}

func (l *lab) joinLine(server string, more ...string) string {
	l.t.Helper()
	line, err := l.CLI(l.t.Context(), append([]string{"token", "create", server},
		more...)...).Output()
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(line))
}

// joins runs the line on db9, which has to say all of these words.
func (l *lab) joins(line string, words ...string) {
	l.t.Helper()
	out, err := l.Exec(l.t.Context(), "db9", "sh", "-c", line)
	if err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			l.t.Errorf("joining does not say %q:\n%s", word, out)
		}
	}
}

// refusesEverythingAtOnce sees that each thing that is wrong is named, with its hint, and that
// nothing was changed.
func (l *lab) refusesEverythingAtOnce(line string) {
	l.t.Helper()
	l.exec("db9", "systemd-run", "--unit=other", "systemd-socket-activate", "--listen=7443",
		"/bin/true")
	l.exec("db9", "mv", "/usr/sbin/tune2fs", "/usr/sbin/tune2fs.away")
	defer l.exec("db9", "sh", "-c",
		"mv /usr/sbin/tune2fs.away /usr/sbin/tune2fs; systemctl stop other.service")
	pin := strings.Fields(line[strings.Index(line, "sha256:"):])[0]
	wrong := strings.Replace(line, pin, "sha256:"+strings.Repeat("ab", 32), 1)
	out, err := l.Exec(l.t.Context(), "db9", "sh", "-c", wrong)
	for _, word := range []string{"tune2fs not installed", "apt-get install e2fsprogs",
		"in use, and not by understudy-agent.service", "ss -ltnp 'sport = :7443'",
		"is not the control plane of this pin"} {
		if err == nil || !strings.Contains(out, word) {
			l.t.Errorf("a host with three faults is refused without %q: %v\n%s", word, err, out)
		}
	}
	if left := l.exec("db9", "find", "/var/lib/understudy-agent", "-name", "cert.pem"); left != "" {
		l.t.Errorf("a refused host has an identity: %s", left)
	}
	if out, err := l.Exec(l.t.Context(), "db9", "sh", "-c", line+" --dry-run"); err == nil ||
		!strings.Contains(out, "ok") || !strings.Contains(out, "join token") {
		l.t.Errorf("a dry run with a fault: %v\n%s", err, out)
	}
}
