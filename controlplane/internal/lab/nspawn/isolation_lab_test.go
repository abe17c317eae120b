//go:build lab

package nspawn_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// wantNoTrace looks for the lab's directory everywhere that the kernel names one. A tool whose lab
// was killed ends by itself.
func wantNoTrace(t *testing.T, cfg nspawn.Config) {
	t.Helper()
	if _, err := os.Stat(cfg.Dir); err == nil {
		t.Errorf("%s is still there", cfg.Dir)
	}
	until(t, "without a trace", func() (bool, string) {
		left := traces(t, cfg.Dir)
		return len(left) == 0, strings.Join(left, "")
	})
}

func traces(t *testing.T, dir string) (left []string) {
	t.Helper()
	for _, argv := range [][]string{{"cat", "/proc/self/mountinfo"}, {"losetup", "--list"},
		{"ip", "-details", "link"}, {"ps", "-eo", "args"}} {
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, dir) {
				left = append(left, argv[0]+": "+line)
			}
		}
	}
	return left
}

func TestTwoLabsSideBySide(t *testing.T) {
	t.Parallel()
	one, two := newLab(t, "side-one"), newLab(t, "side-two")
	a := createMachine(t, one, "db", "trixie")
	b := createMachine(t, two, "db", "trixie")
	answers(t, one, a.ID, "mariadb", "-e", "SELECT 1")
	answers(t, two, b.ID, "mariadb", "-e", "SELECT 1")
	invocation := []string{"systemctl", "show", "--property=InvocationID,ActiveState",
		"mariadb.service"}
	var before string
	until(t, "active", func() (bool, string) {
		before = answers(t, two, b.ID, invocation...)
		return strings.Contains(before, "ActiveState=active\n"), before
	})
	answers(t, one, a.ID, "systemctl", "restart", "mariadb.service")
	if err := one.RebootMachine(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	answers(t, one, a.ID, "mariadb", "-e", "SELECT 1")
	if err := one.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := answers(t, two, b.ID, invocation...); after != before ||
		!strings.Contains(after, "ActiveState=active\n") {
		t.Errorf("the other lab's unit was %q and is %q", before, after)
	}
	again := createMachine(t, two, "second", "test-masked")
	untilState(t, two, again.ID, provider.MachineRunning)
	if after := answers(t, two, b.ID, invocation...); after != before {
		t.Errorf("a second machine changed the first one's unit from %q to %q", before, after)
	}
}

func TestRebootAndPowerCycleKeepTheMount(t *testing.T) {
	t.Parallel()
	p := newLab(t, "mount")
	m := createMachine(t, p, "db", "test-masked")
	untilState(t, p, m.ID, provider.MachineRunning)
	answers(t, p, m.ID, "findmnt", "/srv/mariadb")
	answers(t, p, m.ID, "touch", "/srv/mariadb/kept")
	boot := []string{"cat", "/proc/sys/kernel/random/boot_id"}
	before := answers(t, p, m.ID, boot...)
	// From inside, as somebody logged in would.
	answers(t, p, m.ID, "systemctl", "reboot")
	until(t, "rebooted", func() (bool, string) {
		now, err := p.Exec(t.Context(), m.ID, nspawn.Command{Argv: boot})
		return err == nil && now != before, now
	})
	answers(t, p, m.ID, "findmnt", "/srv/mariadb")
	answers(t, p, m.ID, "test", "-e", "/srv/mariadb/kept")
	answers(t, p, m.ID, "systemctl", "poweroff")
	if off := untilState(t, p, m.ID,
		provider.MachineStopped); off.Reason != "powered off from inside" {
		t.Errorf("reason is %q", off.Reason)
	}
	if err := p.StartMachine(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	untilState(t, p, m.ID, provider.MachineRunning)
	answers(t, p, m.ID, "findmnt", "/srv/mariadb")
	answers(t, p, m.ID, "test", "-e", "/srv/mariadb/kept")
}

func TestKilledSupervisorIsALostMachine(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "power")
	p := labOf(t, cfg)
	m := createMachine(t, p, "db", "test-masked")
	untilState(t, p, m.ID, provider.MachineRunning)
	if err := exec.Command("kill", "-9", supervisorOf(t, cfg, m.ID)).Run(); err != nil {
		t.Fatal(err)
	}
	if off := untilState(t, p, m.ID, provider.MachineStopped); !strings.Contains(off.Reason,
		"power lost") {
		t.Errorf("reason is %q", off.Reason)
	}
	if err := p.StartMachine(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	untilState(t, p, m.ID, provider.MachineRunning)
	answers(t, p, m.ID, "findmnt", "/srv/mariadb")
}

// A lock of whoever starts a machine ends with him, not with the machine.
func TestAMachineInheritsNoFiles(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "inherit")
	p := labOf(t, cfg)
	held, err := os.Create(filepath.Join(t.TempDir(), "held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	inherited, err := unix.Dup(int(held.Fd())) // children get it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	m := createMachine(t, p, "db", "test-masked")
	untilState(t, p, m.ID, provider.MachineRunning)
	files, err := filepath.Glob("/proc/" + supervisorOf(t, cfg, m.ID) + "/fd/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("files of the supervisor: %v %v", files, err)
	}
	for _, file := range files {
		if at, err := os.Readlink(file); err == nil && at == held.Name() {
			t.Errorf("the supervisor has %s open", at)
		}
	}
}

func TestFrozenMachineIsTerminated(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "frozen")
	p := labOf(t, cfg)
	m := createMachine(t, p, "db", "test-masked")
	untilState(t, p, m.ID, provider.MachineRunning)
	answers(t, p, m.ID, "findmnt", "/srv/mariadb")
	answers(t, p, m.ID, "fsfreeze", "--freeze", "/srv/mariadb")
	answers(t, p, m.ID, "systemd-run", "--unit=stuck", "touch", "/srv/mariadb/stuck")
	until(t, "a process waits for the frozen filesystem", func() (bool, string) {
		state, err := p.Exec(t.Context(), m.ID,
			nspawn.Command{Argv: []string{"ps", "-C", "touch", "-o", "state="}})
		return err == nil && strings.TrimSpace(state) == "D", state
	})
	if err := p.TerminateMachine(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNoTrace(t, cfg)
}

// supervisorOf finds the process by its arguments.
func supervisorOf(t *testing.T, cfg nspawn.Config, machine string) string {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "pid,args").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, cfg.Dir+" "+machine) {
			return strings.Fields(line)[0]
		}
	}
	t.Fatal("no supervisor found")
	return ""
}

func TestNameOfAnotherLabIsRefused(t *testing.T) {
	t.Parallel()
	cfg := labConfig(t, "name")
	p := labOf(t, cfg)
	if _, err := p.HostAddress(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Dir += "-other"
	t.Cleanup(func() { _ = os.RemoveAll(cfg.Dir) })
	other, err := nspawn.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.ListMachines(t.Context(), provider.Filter{}); !isInUse(err) {
		t.Errorf("second lab of the name: %v", err)
	}
}

func isInUse(err error) bool { return provider.HeldBy(err) != "" }

// A machine of one lab must not pin what another lab has mounted: nspawn moves its root over
// the box's, whose mounts stay below it.
func TestLabGoesWhileAnotherStartedLater(t *testing.T) {
	t.Parallel()
	first, second := newLab(t, "pin-first"), newLab(t, "pin-second")
	a := createMachine(t, first, "db", "test-masked")
	untilState(t, first, a.ID, provider.MachineRunning)
	b := createMachine(t, second, "db", "test-masked")
	untilState(t, second, b.ID, provider.MachineRunning)
	if err := first.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	untilState(t, second, b.ID, provider.MachineRunning)
}
