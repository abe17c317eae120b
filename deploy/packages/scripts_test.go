//go:build lab

package packages_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// alone runs a script in a mount namespace of its own in which nothing of this machine can be
// deleted: what the packages keep is in memory. SCRIPTS are the agent's maintainer scripts.
func alone(t *testing.T, script string) (string, error) {
	t.Helper()
	scripts, err := filepath.Abs("understudy-agent")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-euc", `
		for dir in /etc /run /var/lib /mnt; do mount -t tmpfs own "$dir"; done
		mkdir -p /etc/understudy-agent /var/lib/understudy-agent /run/understudy-agent
		mkdir -p /run/systemd/system
		cat >/mnt/systemctl <<'END'
#!/bin/sh
echo "$*" >>/run/asked
case $1 in
list-units)
	for unit; do
		case $unit in
		*quiesce*) cat /run/held ;;
		*freeze*) cat /run/frozen ;;
		esac || exit
	done
	;;
show) cat /run/status ;;
is-active) exit 3 ;;
esac
END
		cp /mnt/systemctl /mnt/systemd-run
		chmod +x /mnt/systemctl /mnt/systemd-run
		PATH=/mnt:$PATH
		`+script)
	cmd.Env = append(os.Environ(), "SCRIPTS="+scripts)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPurgeLeavesDataThatAKilledAgentLeftMounted purges while a data volume is mounted below the
// agent's runtime directory.
func TestPurgeLeavesDataThatAKilledAgentLeftMounted(t *testing.T) {
	out, err := alone(t, `
		mkdir /run/volume /run/understudy-agent/peek-1
		touch /run/volume/ibdata1
		mount --bind /run/volume /run/understudy-agent/peek-1
		sh "$SCRIPTS/postrm" purge
		test -f /run/volume/ibdata1
		for dir in /run /etc /var/lib; do test ! -e "$dir/understudy-agent"; done`)
	if err != nil {
		t.Errorf("the data or the agent's own files are not as wanted: %v\n%s", err, out)
	}
}

// TestScriptsHeedHolds asks a systemctl that lists a hold, that lists none, and that fails. A
// restart waits for what would end with the agent, a removal for any hold.
func TestScriptsHeedHolds(t *testing.T) {
	status, err := os.ReadFile("../../agent/internal/quiesce/outlive.go")
	if err != nil || !strings.Contains(string(status), `"held; goes on without the agent"`) {
		t.Errorf("the process says other words of itself: %v", err)
	}
	const (
		held     = "echo understudy-quiesce.service loaded active running >/run/held\n"
		outlives = "echo 'held; goes on without the agent' >/run/status\n"
		nothing  = "touch /run/held /run/frozen /run/status\n"
		frozen   = "echo understudy-freeze-srv.service loaded active running >/run/frozen\n"
	)
	for state, prepare := range map[string]string{
		"held":                nothing + held,
		"outlives":            nothing + held + outlives,
		"outlives and frozen": nothing + held + outlives + frozen,
		"frozen":              nothing + frozen,
		"idle":                nothing,
		"unsure":              "", // systemctl fails
	} {
		atOnce := state == "idle" || state == "outlives"
		out, err := alone(t, prepare+`
			sed "s,/usr/lib/understudy-agent,$SCRIPTS," "$SCRIPTS/prerm" >/run/prerm
			sh /run/prerm remove`)
		if (err == nil) != (state == "idle") {
			t.Errorf("%s: a removal: %v\n%s", state, err, out)
		}
		out, err = alone(t, prepare+`"$SCRIPTS/restart"; cat /run/asked`)
		now, later := strings.Contains(out, "\ntry-restart understudy-agent.service"),
			strings.Contains(out, "--unit=understudy-agent-restart.service")
		if err != nil || now != atOnce || later == now {
			t.Errorf("%s: a restart: %v\n%s", state, err, out)
		}
	}
}
