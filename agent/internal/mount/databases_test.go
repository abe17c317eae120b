package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestUnitOfAProcess(t *testing.T) {
	t.Parallel()
	for cgroup, want := range map[string]string{
		"0::/system.slice/mariadb.service":                          "mariadb.service",
		"0::/system.slice/system-mariadb.slice/mariadb@x.service":   "mariadb@x.service",
		"0::/system.slice/docker-0123.scope":                        "",
		"0::/machine.slice/box.service/system.slice/mysqld.service": "mysqld.service",
		"": "",
	} {
		if got := unitOf(cgroup); got != want {
			t.Errorf("%q: %q, want %q", cgroup, got, want)
		}
	}
}

// TestARunningDatabaseIsSeenByItsDatadir runs something by the name of MariaDB in a datadir.
func TestARunningDatabaseIsSeenByItsDatadir(t *testing.T) {
	t.Parallel()
	bin, datadir := t.TempDir(), t.TempDir()
	program, err := os.ReadFile("/bin/sleep")
	if err == nil {
		// A process that another test starts meanwhile would have it open for writing still.
		syscall.ForkLock.RLock()
		err = os.WriteFile(filepath.Join(bin, "mariadbd"), program, 0o755)
		syscall.ForkLock.RUnlock()
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(datadir, "shop"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(datadir, "shop", "orders.frm"), nil, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	alias := filepath.Join(bin, "alias")
	if err := os.Symlink(datadir, alias); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "mariadbd"), "600")
	cmd.Dir = datadir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for path, want := range map[string]string{"/no/such": datadir, alias: alias} {
		m := &Manager{host: &host{}, allow: allowList{mountPoints: []string{path}}}
		all := m.DatabaseProcesses()
		i := slices.IndexFunc(all, func(p DatabaseProcess) bool { return p.PID == cmd.Process.Pid })
		if i < 0 || all[i].Datadir != want || !slices.Equal(all[i].Databases, []string{"shop"}) {
			t.Errorf("allowed %s: %+v", path, all)
		}
	}
}
