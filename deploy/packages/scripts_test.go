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
[ "$1" != list-units ]
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

// TestScriptsTakeASystemdThatDoesNotAnswerForAHold asks a systemctl that fails to list the holds.
func TestScriptsTakeASystemdThatDoesNotAnswerForAHold(t *testing.T) {
	if out, err := alone(t, `sh "$SCRIPTS/prerm" remove`); err == nil {
		t.Errorf("the package is removed although a hold may run: %s", out)
	}
	out, err := alone(t, `sh "$SCRIPTS/restart"; cat /run/asked`)
	if err != nil || strings.Contains(out, "try-restart") {
		t.Errorf("the agent is restarted although a hold may run: %v\n%s", err, out)
	}
}
