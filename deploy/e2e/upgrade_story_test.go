//go:build lab

package e2e

import (
	"strings"
	"testing"
)

// story is the life of the packages on the hosts: installed, upgraded and downgraded while jobs
// run, removed, purged.
func (u *upgrade) story(t *testing.T) {
	for host := range pageAddresses {
		u.install(t, host, u.older)
		u.on(t, host, "test $(systemctl is-enabled "+programOf(host)+") = disabled")
	}
	u.on(t, "cp", `printf 'provider: manual\nlisten: ["0.0.0.0:7440"]\nadvertise: ["%s:7440"]\n' `+
		u.addresses[pageAddresses["cp"]]+" >>/etc/understudy/understudy.yaml\n"+
		"systemctl enable --now understudy")
	u.ask(t, "understudy server create db1 --size 1GiB")
	u.before = map[string]func(){"take_snapshot": func() { u.whileHeld(t) }}
	u.ask(t, "understudy snapshot create db1 --mode offline --quiesce-limit 30m")
	u.runsInstalled(t, "db1")

	u.before = map[string]func(){
		"make_machine":  u.swap(t, "cp", u.newer), // new control plane, old agents
		"make_volume":   u.swap(t, "db1", u.older),
		"attach_volume": u.swap(t, "db2", u.newer),
	}
	u.during = map[string]func(){
		"mount_data": u.swap(t, "db2", u.older),
		"start_mariadb": func() { // old control plane, new agent
			// The job waits for the agent while both are changed, however long that takes.
			u.on(t, "db2", "systemctl stop understudy-agent")
			u.swap(t, "cp", u.older)()
			u.install(t, "db2", u.newer)
			u.on(t, "db2", "systemctl start understudy-agent")
			u.runsInstalled(t, "db2")
		},
	}
	u.ask(t, "understudy replica create db2 --from "+u.site.snapshot(t)+" --verify full")
	u.replicates(t)
	u.remove(t)
}

// whileHeld upgrades the agent while MariaDB is stopped for a copy: MariaDB stays stopped, the job
// goes on with the new agent, and the package cannot be removed.
func (u *upgrade) whileHeld(t *testing.T) {
	t.Helper()
	const pid = "systemctl show -P MainPID understudy-agent"
	before := u.on(t, "db1", pid)
	if out, err := u.try("db1", u.block(t, "db1", "to remove")); err == nil ||
		!strings.Contains(out, "held for a snapshot") {
		t.Errorf("the package is removed during a hold: %s", out)
	}
	const process = "systemctl show -P MainPID understudy-quiesce"
	holds := u.on(t, "db1", process)
	u.install(t, "db1", u.newer)
	if after := u.on(t, "db1", pid); after == before {
		t.Errorf("the agent was not restarted during a hold that outlives it")
	}
	if after := u.on(t, "db1", process); after != holds {
		t.Errorf("the hold has ended with its agent")
	}
	u.on(t, "db1", "test $(systemctl is-active mariadb) = inactive")
}

// replicates sees that both threads of the replica run.
func (u *upgrade) replicates(t *testing.T) {
	t.Helper()
	out := u.on(t, "db2", `mariadb -e 'SHOW REPLICA STATUS\G'`)
	if !strings.Contains(out, "Slave_IO_Running: Yes") ||
		!strings.Contains(out, "Slave_SQL_Running: Yes") {
		t.Errorf("the replica does not replicate:\n%s", out)
	}
}

// remove removes and purges the packages: MariaDB and replication go on, the records stay.
func (u *upgrade) remove(t *testing.T) {
	t.Helper()
	off := func(unit string) string {
		return `test "$(systemctl is-active ` + unit + `)" = inactive`
	}
	u.on(t, "db2", u.block(t, "db2", "to remove")+off("understudy-agent")+`
		test -n "$(ls /var/lib/understudy-agent)"
		dpkg --purge understudy-agent
		test ! -e /etc/understudy-agent -a ! -e /var/lib/understudy-agent`)
	u.replicates(t)
	u.on(t, "cp", u.block(t, "cp", "to remove")+off("understudy")+`
		dpkg --purge understudy
		test ! -e /etc/understudy
		test -s /var/lib/understudy/understudy.db -a -d /var/lib/understudy/ca`)
}
