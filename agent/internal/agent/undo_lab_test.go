//go:build lab

package agent_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// S2: what was killed with all of its unit while systemd cannot be reached is given back once it
// can, and the agent says so meanwhile.
func TestLongAnOfflineQuiesceThatWasKilledEndsOnceSystemdAnswers(t *testing.T) {
	p := newPrimary(t)
	p.quiesce(t, 10*time.Minute)
	lab.Run(t, "systemctl", "kill", "-s", "KILL", quiesceUnit)
	comesBack := systemdAway(t)
	stream, err := agentv1.NewObservationServiceClient(p.dial(t,
		p.ca.Source(identity.ControlPlane()))).Observe(lab.Context(t), &agentv1.ObserveRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for told := false; !told; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatalf("the agent does not say that MariaDB has not resumed: %v", err)
		}
		told = slices.ContainsFunc(m.GetFacts().GetHung(), func(h *agentv1.HungProbe) bool {
			return h.GetProbe() == "resume" && h.GetReason() != ""
		})
	}
	if out, err := lab.Try("mariadb", "-e", "SELECT 1"); err == nil {
		t.Errorf("MariaDB answers: %s", out)
	}
	comesBack()
	p.serves(t, time.Minute)
}

// TestLongAnOfflineQuiesceEndsAlthoughSystemctlReachesNobody has the process alone killed while
// systemd cannot be reached: what runs after it cannot start MariaDB, and that is not the end of
// it.
func TestLongAnOfflineQuiesceEndsAlthoughSystemctlReachesNobody(t *testing.T) {
	p := newPrimary(t)
	p.quiesce(t, 10*time.Minute)
	pid, err := strconv.Atoi(lab.Run(t, "systemctl", "show", "--property=MainPID", "--value",
		quiesceUnit))
	if err != nil || pid == 0 {
		t.Fatal(pid, err)
	}
	comesBack := systemdAway(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, time.Minute, "systemd has run what follows the process", func() bool {
		out, _ := lab.Try("journalctl", "--no-pager", "-u", quiesceUnit)
		return strings.Contains(out, "cannot resume MariaDB")
	})
	if out, err := lab.Try("mariadb", "-e", "SELECT 1"); err == nil {
		t.Errorf("MariaDB answers: %s", out)
	}
	comesBack()
	p.serves(t, time.Minute)
}

// systemdAway takes systemd's sockets away, the one of D-Bus and its own.
func systemdAway(t *testing.T) (comesBack func()) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(lab.Run(t, "systemctl", "show", "--property=MainPID",
		"--value", "dbus.service")))
	if err != nil {
		t.Fatal(err)
	}
	sockets := []string{"/run/dbus/system_bus_socket", "/run/systemd/private"}
	for _, socket := range sockets {
		if err := os.Rename(socket, socket+".away"); err != nil {
			t.Fatal(err)
		}
	}
	comesBack = func() {
		for _, socket := range sockets {
			err := os.Rename(socket+".away", socket)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	}
	t.Cleanup(comesBack)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return comesBack
}
