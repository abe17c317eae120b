//go:build lab

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/deploy/stack"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// TestLongRestore backs a control plane up in the middle of a job, lets it go on, kills it, and
// restores it in another directory under another address.
func TestLongRestore(t *testing.T) {
	t.Parallel()
	l := newLab(t, "restore")
	l.run("server", "create", "db1")
	l.run("replica", "create", "db2", "--of", "db1")
	l.run("replica", "create", "db3", "--of", "db1", "--detach")
	job := l.lastJob("create_replica").GetName()
	l.awaitStep(job, "await_agent")
	archive := filepath.Join(t.TempDir(), "backup.tar")
	l.run("backup", archive, "--state-dir", l.Config().Dir)
	l.refuse([]string{"is not empty"}, "restore", archive, "--state-dir", l.Config().Dir)

	// The agents see higher epochs than the backup has.
	l.Kill()
	l.start()
	l.awaitStep(job, "configure_mariadb")

	// The old control plane is left running, and changes nothing any more.
	moved := l.elsewhere(archive)
	defer moved.Stop()
	done := moved.await(job, 4*time.Minute, cpv1.Job_STATE_SUCCEEDED, cpv1.Job_STATE_FAILED)
	if done.GetState() != cpv1.Job_STATE_SUCCEEDED {
		t.Errorf("the job of before the backup is %s: %v", done.GetState(), done.GetSteps())
	}
	awaitTrue(t, 30*time.Second, "the old control plane notices", func() bool {
		return strings.Contains(l.server("db1").GetStateReason(), "has taken over")
	})
	l.refuse([]string{"has taken over", "stop this control plane"}, "server", "purge-binlogs",
		"db1")
	l.Kill()
	_, port, _ := strings.Cut(moved.Address(), ":")
	for _, name := range []string{"db1", "db2", "db3"} {
		awaitTrue(t, 30*time.Second, "the agent of "+name+" has the new address", func() bool {
			return !moved.server(name).GetAgentHasOldAddress()
		})
		awaitTrue(t, 30*time.Second, name+" was seen", func() bool {
			return moved.server(name).GetState() != cpv1.Server_STATE_UNKNOWN
		})
		if got := moved.server(name); got.GetState() != cpv1.Server_STATE_READY {
			t.Errorf("%s is %s: %s", name, got.GetState(), got.GetStateReason())
		}
	}
	serial := func() string {
		return l.exec("db2", "sha256sum", "/var/lib/understudy-agent/identity/current/cert.pem")
	}
	mariadb := func() string {
		return l.exec("db2", "mariadb", "--ssl", "--skip-ssl-verify-server-cert", "-Ne",
			"SHOW STATUS LIKE 'Ssl_server_not_%'")
	}
	before, served := serial(), mariadb()
	l.exec("db2", "cp", "-a", "/etc/mysql/understudy", "/root/before")
	if out := l.exec("db2", "understudy-agent", "renew"); !strings.Contains(out, ":"+port) {
		t.Errorf("not renewed at the new address: %s", out)
	}
	if serial() == before {
		t.Error("the renewed certificate is the old one")
	}
	if mariadb() == served {
		t.Errorf("MariaDB serves the old certificate: %s", served)
	}
	// An agent that is killed before it hands the certificate on does so when it starts.
	l.exec("db2", "cp", "-a", "/root/before/.", "/etc/mysql/understudy")
	l.sql("db2", "FLUSH NO_WRITE_TO_BINLOG SSL")
	if mariadb() != served {
		t.Errorf("MariaDB is to serve the old certificate: %s", mariadb())
	}
	l.exec("db2", "systemctl", "restart", "understudy-agent")
	awaitTrue(t, 30*time.Second, "MariaDB serves the new certificate",
		func() bool { return mariadb() != served })
	awaitTrue(t, 30*time.Second, "db2 is observed under its new certificate", func() bool {
		return time.Since(moved.server("db2").GetLastSeenTime().AsTime()) < 10*time.Second
	})
	if out, err := moved.try("doctor"); err != nil ||
		!strings.Contains(out, "all agents know the address") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}

// elsewhere restores the archive and starts the control plane that it makes.
func (l *lab) elsewhere(archive string) *lab {
	l.t.Helper()
	cfg := l.Config()
	cfg.Dir += "-moved"
	if err := os.RemoveAll(cfg.Dir); err != nil {
		l.t.Fatal(err)
	}
	s, err := stack.New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(cfg.Dir) })
	moved := &lab{Stack: s, link: &link{}, t: l.t}
	moved.run("restore", archive, "--state-dir", cfg.Dir)
	moved.start()
	return moved
}

// awaitStep waits until the job has begun a step.
func (l *lab) awaitStep(job, step string) {
	l.t.Helper()
	awaitTrue(l.t, 2*time.Minute, job+" is at "+step, func() bool {
		s := stepOf(l.lastJob("create_replica"), step)
		return s.GetState() != cpv1.Step_STATE_PENDING
	})
}
