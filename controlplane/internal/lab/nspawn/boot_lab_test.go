//go:build lab

package nspawn_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

func TestMachineBootsToMariaDB(t *testing.T) {
	t.Parallel()
	p := newLab(t, "boot")
	m := createMachine(t, p, "db1", "trixie")
	untilState(t, p, m.ID, provider.MachineRunning)
	if state := answers(t, p, m.ID, "systemctl", "is-system-running",
		"--wait"); strings.TrimSpace(state) != "running" {
		t.Errorf("system is %s", state)
	}
	if version := answers(t, p, m.ID, "mariadb", "-NBe",
		"SELECT VERSION()"); !strings.HasPrefix(version, "11.8") {
		t.Errorf("MariaDB is %s", version)
	}
	if name := answers(t, p, m.ID, "hostname"); strings.TrimSpace(name) != "db1" {
		t.Errorf("host name is %s", name)
	}
	if join := answers(t, p, m.ID, "stat", "-c", "%a %U",
		"/etc/understudy-agent/join.json"); join != "600 root\n" {
		t.Errorf("join file is %s", join)
	}
	if address := answers(t, p, m.ID, "ip", "-br", "addr", "show",
		"host0"); !strings.Contains(address, m.Address+"/24") {
		t.Errorf("address is %s, not %s", address, m.Address)
	}
}
