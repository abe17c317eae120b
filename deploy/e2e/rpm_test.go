//go:build lab

package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLongRPM installs, upgrades and removes the rpm packages with rpm itself, on a host that runs.
// rpm has another order than dpkg: what the old package does at its end comes after the new one has
// begun. The host is a Debian, which has no rpm: it gets the program.
func TestLongRPM(t *testing.T) {
	t.Parallel()
	r := &rpmHost{site: newSite(t, "rpm"), t: t}
	r.bringRPM()
	older := r.bring(buildPackagesAs(t, "rpm", "../..", "0.1.0"))
	newer := r.bring(buildPackagesAs(t, "rpm", "../..", "0.1.1"))

	r.rpm("--install", older)
	r.is("disabled inactive", "understudy")
	r.is("disabled inactive", "understudy-agent")
	r.run(`id understudy
		stat -c '%U %a' /var/lib/understudy | grep -qx 'understudy 700'
		stat -c '%U %a' /etc/understudy-agent | grep -qx 'root 700'`)
	r.run(`printf '%s\n' 'provider: manual' 'listen: ["0.0.0.0:7440"]' \
			'advertise: ["127.0.0.1:7440"]' >>/etc/understudy/understudy.yaml
		systemctl enable --now understudy
		understudy token create db7 --out /etc/understudy-agent/join.json
		systemctl enable --now understudy-agent
		systemctl start mariadb`)
	r.is("enabled active", "understudy")
	r.is("enabled active", "understudy-agent")
	before := r.pids()
	mariadb := r.run("systemctl show -P MainPID mariadb")

	r.rpm("--upgrade", newer)
	r.is("enabled active", "understudy")
	r.is("enabled active", "understudy-agent")
	if after := r.pids(); after == before || strings.Contains(after, "\n0\n") {
		t.Errorf("the programs were %q before the upgrade and are %q", before, after)
	}
	for _, program := range []string{"understudy", "understudy-agent"} {
		if version := r.run(program + " --version"); !strings.Contains(version, "0.1.1") {
			t.Errorf("%s is %s", program, version)
		}
	}
	r.run("grep -q 'provider: manual' /etc/understudy/understudy.yaml; understudy doctor || true")
	r.rpm("--upgrade --oldpackage", older)
	r.is("enabled active", "understudy-agent")

	r.rpm("--erase", "understudy understudy-agent")
	r.run(`! command -v understudy; ! command -v understudy-agent
		! systemctl is-active understudy understudy-agent
		test -f /var/lib/understudy/ca/ca.pem
		test -d /var/lib/understudy-agent/identity`)
	if now := r.run("systemctl show -P MainPID mariadb"); now != mariadb {
		t.Errorf("MariaDB was process %s and is %s", mariadb, now)
	}
}

type rpmHost struct {
	*site
	t *testing.T
}

const rpmOn = "db1"

func (r *rpmHost) run(script string) string { return strings.TrimSpace(r.on(r.t, rpmOn, script)) }

// rpm runs the program as it is on this box, with its own loader and libraries.
func (r *rpmHost) rpm(what, packages string) {
	r.t.Helper()
	out := r.run("cd /opt/rpm; RPM_CONFIGDIR=/opt/rpm/usr/lib/rpm ./lib64/ld-linux-x86-64.so.2 " +
		"--library-path $(cat path) ./usr/bin/rpm --nodeps --dbpath /var/lib/rpm " + what + " " +
		packages + " 2>&1")
	if strings.Contains(out, "scriptlet failed") {
		r.t.Errorf("rpm %s: %s", what, out)
	}
}

func (r *rpmHost) is(want, unit string) {
	r.t.Helper()
	awaitTrue(r.t, time.Minute, unit+" is "+want, func() bool {
		out, _ := r.try(rpmOn, "echo $(systemctl is-enabled "+unit+") $(systemctl is-active "+
			unit+")")
		return strings.TrimSpace(out) == want
	})
}

func (r *rpmHost) pids() string {
	return r.run("systemctl show -P MainPID understudy understudy-agent")
}

// bringRPM puts rpm onto the host.
func (r *rpmHost) bringRPM() {
	r.t.Helper()
	archive, err := exec.CommandContext(r.t.Context(), "sh", "-ec", `
		libraries=$(ldd /usr/bin/rpm | grep -o '/[^ ]*')
		tar --create --dereference --absolute-names --transform 's,^/,,' /usr/bin/rpm \
			/usr/lib/rpm $libraries`).Output()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := r.command(r.t.Context(), rpmOn, `mkdir -p /opt/rpm; tar --extract --directory /opt/rpm
		cd /opt/rpm; find "$PWD" -name '*.so*' -printf '%h\n' | sort -u | paste -sd: >path`)
	cmd.Stdin = bytes.NewReader(archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
}

// bring puts packages onto the host, and says where they are there.
func (r *rpmHost) bring(packages built) string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(packages.dir, "*.rpm"))
	if err != nil || len(found) != 2 {
		r.t.Fatalf("want two packages: %v %v", found, err)
	}
	archive, err := exec.CommandContext(r.t.Context(), "tar", append([]string{"--create",
		"--directory", packages.dir}, filepath.Base(found[0]), filepath.Base(found[1]))...).Output()
	if err != nil {
		r.t.Fatal(err)
	}
	dir := "/opt/" + packages.version
	cmd := r.command(r.t.Context(), rpmOn, "mkdir -p "+dir+"; tar --extract --directory "+dir)
	cmd.Stdin = bytes.NewReader(archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	return dir + "/*.rpm"
}
