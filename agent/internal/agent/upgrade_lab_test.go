//go:build lab

package agent_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/agent/internal/lab"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// upgrade has the agent upgrade the datadir, to the end of its answers.
func (a *installed) upgrade(t *testing.T) (*agentv1.UpgradeDatadirResponse, error) {
	t.Helper()
	stream, err := agentv1.NewMariaDBServiceClient(a.conn).UpgradeDatadir(lab.Context(t),
		&agentv1.UpgradeDatadirRequest{FencingToken: &agentv1.FencingToken{Job: "jobs/1", Epoch: 1,
			EffectKey: "1/upgrade/1"}})
	if err != nil {
		t.Fatal(err)
	}
	var last *agentv1.UpgradeDatadirResponse
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		last = m
	}
}

// isOfBefore makes the datadir one that is to be upgraded, until the test ends.
func isOfBefore(t *testing.T, current string) {
	t.Helper()
	files := []string{"/var/lib/mysql/mariadb_upgrade_info", "/var/lib/mysql/mysql_upgrade_info"}
	was, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(files[1]); lab.Write(t, files[0], string(was)) })
	lab.Write(t, files[0], current)
	lab.Write(t, files[1], "10.11.9-MariaDB")
}

// TestAnImpostorOfMariaDBGetsNothingOfRoot: whoever runs as MariaDB's user listens at its socket
// when the agent has the datadir upgraded.
func TestAnImpostorOfMariaDBGetsNothingOfRoot(t *testing.T) {
	a := install(t)
	_, version, _ := strings.Cut(lab.Run(t, "mariadbd", "--no-defaults", "--version"), "Ver ")
	version, _, _ = strings.Cut(version, "-")
	const secret = "/etc/of-root"
	lab.Write(t, secret, "a file of root")
	lab.Run(t, "chmod", "0600", secret)
	by := filepath.Join("/tmp", "who-ran-it")
	made := "/etc/mariadb_upgrade_info"
	t.Cleanup(func() { os.Remove(secret); os.Remove(by); os.Remove(made) })
	datadir := "/var/lib/mysql/"
	hostile := func(statement string) said {
		switch lower := strings.ToLower(statement); {
		case strings.Contains(lower, "global variables"):
			return said{rows: [][2]string{{"datadir", "/var/lib/mysql/"},
				{"version", version + "-MariaDB"}}}
		case strings.Contains(lower, "like 'datadir'"):
			return said{rows: [][2]string{{"datadir", datadir}}}
		case strings.Contains(lower, "like 'version'"):
			return said{rows: [][2]string{{"version", version + "-MariaDB"}}}
		case strings.Contains(lower, "show create table"):
			return said{rows: [][2]string{{"user", "of an old version"}}}
		case strings.Contains(lower, "unknown storage engine"):
			// What is taken for the name of an engine is made a statement of a client that knows
			// commands for a shell.
			return said{err: "a\n';\\! id -u >> " + by + " #"}
		case strings.Contains(lower, "install soname"):
			return said{demand: secret}
		}
		return said{}
	}
	t.Run("a shell, and a file", func(t *testing.T) {
		isOfBefore(t, "")
		i := beMariaDB(t, hostile)
		_, err := a.upgrade(t)
		files, asked := i.got()
		who, _ := os.ReadFile(by)
		t.Logf("%v\nran as %q", err, who)
		if !strings.Contains(asked, "install soname") || len(who) == 0 {
			t.Errorf("the attack was not tried: %s", asked)
		}
		if strings.Contains("\n"+string(who), "\n0\n") {
			t.Error("a command ran as root")
		}
		if strings.Contains(files, "of root") {
			t.Error("a file of root's was sent")
		}
	})
	t.Run("a file elsewhere", func(t *testing.T) {
		isOfBefore(t, "")
		datadir = "/etc/"
		beMariaDB(t, hostile)
		_, err := a.upgrade(t)
		t.Log(err)
		if _, err := os.Lstat(made); err == nil {
			t.Errorf("%s was made", made)
		}
	})
}

// TestAnUpgradeIsNoWorkOfRoots: the tool runs as MariaDB's user, whom the agent signs in.
func TestAnUpgradeIsNoWorkOfRoots(t *testing.T) {
	a := install(t)
	const dropIn = "/etc/systemd/system/mariadb.service.d/no-upgrade.conf"
	t.Cleanup(func() { os.Remove(dropIn); lab.Run(t, "systemctl", "daemon-reload") })
	lab.Write(t, dropIn, "[Service]\nExecStartPost=\n") // Debian's own would be first
	lab.Run(t, "systemctl", "daemon-reload")
	isOfBefore(t, "11.4.2-MariaDB")
	lab.Run(t, "systemctl", "reset-failed", "mariadb.service") // the tests before started it often
	lab.Run(t, "systemctl", "restart", "mariadb.service")
	lab.Eventually(t, time.Minute, "MariaDB answers", func() bool {
		_, err := lab.Try("mariadb", "-e", "SELECT 1")
		return err == nil
	})
	before := lab.Run(t, "mariadb", "-BNe", "SELECT @@gtid_binlog_state; SELECT COUNT(*) FROM "+
		"mysql.global_priv")
	last, err := a.upgrade(t)
	if err != nil || !last.GetChanged() || !strings.HasPrefix(last.GetDatadirVersion(), "11.8.") {
		t.Fatalf("%v, %v", last, err)
	}
	if got := lab.Run(t, "stat", "-c", "%U",
		"/var/lib/mysql/mariadb_upgrade_info"); got != "mysql" {
		t.Errorf("the version was written by %s", got)
	}
	if after := lab.Run(t, "mariadb", "-BNe", "SELECT @@gtid_binlog_state; SELECT COUNT(*) FROM "+
		"mysql.global_priv"); after != before {
		t.Errorf("%q, was %q", after, before)
	}
	if left, _ := filepath.Glob("/run/understudy-upgrade*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if last, err = a.upgrade(t); err != nil || last.GetChanged() {
		t.Errorf("again: %v, %v", last, err)
	}
}

// TestTheHelpOfMariaDBMakesNoFile: what MariaDB on this host has is asked of its program, which
// makes a file in the datadir, by the host's name.
func TestTheHelpOfMariaDBMakesNoFile(t *testing.T) {
	a := install(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const made = "/etc/made-by-root"
	link := filepath.Join("/var/lib/mysql", host+".lower-test")
	_ = os.Remove(link)
	if err := os.Symlink(made, link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(link); os.Remove(made) })
	lab.Run(t, "systemctl", "stop", "mariadb.service")
	_, err = agentv1.NewMariaDBServiceClient(a.conn).PrepareDatadir(lab.Context(t),
		&agentv1.PrepareDatadirRequest{
			Contract:     &agentv1.DatadirContract{Libraries: []string{"ha_archive.so"}},
			FencingToken: &agentv1.FencingToken{Job: "jobs/1", Epoch: 1, EffectKey: "1/prepare/1"}})
	t.Log(err)
	if _, statErr := os.Lstat(made); statErr == nil {
		t.Error("root made a file where a link of MariaDB's user leads")
	}
	if _, statErr := os.Lstat(link); statErr != nil {
		t.Error("root removed the link")
	}
}
