//go:build lab

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testGrpcurl drives an agent and the control plane by hand, as docs/grpcurl.md shows it.
func (l *lab) testGrpcurl(t *testing.T) {
	agent := l.server("db1").GetAddress() + ":7443"
	l.in(t).refusesWithoutGrant(agent)
	l.run("agent", "grant", "db1", "--for", "30m", "--reason", "grpcurl")
	for _, c := range []struct {
		name, target, server string
		args, want           []string
		fails                bool
	}{
		{"control plane lists its services", l.Address(), "controlplane", []string{"list"},
			[]string{"understudy.controlplane.v1.JobService", "grpc.health.v1.Health"}, false},
		{"control plane describes a call", l.Address(), "controlplane",
			[]string{"describe", "understudy.controlplane.v1.ServerService.CreateReplica"},
			[]string{"CreateReplicaRequest"}, false},
		{"control plane answers", l.Address(), "controlplane",
			[]string{"understudy.controlplane.v1.ServerService/ListServers"},
			[]string{`"name": "servers/db1"`, "STATE_READY"}, false},
		{"control plane says what to do", l.Address(), "controlplane",
			[]string{"-d", `{"name":"servers/db7"}`,
				"understudy.controlplane.v1.ServerService/GetServer"},
			[]string{"NotFound", "db7", "hint"}, true},
		{"agent lists its services", agent, "db1", []string{"list"},
			[]string{"understudy.agent.v1.MariaDBService", "understudy.agent.v1.MountService"},
			false},
		{"agent describes a message", agent, "db1",
			[]string{"describe", "understudy.agent.v1.EnsureMountRequest"}, []string{"device_ids"},
			false},
		{"agent answers", agent, "db1", []string{"understudy.agent.v1.MariaDBService/GetStatus"},
			[]string{`"answers": true`, `"binlogPos"`}, false},
		{"agent tells of a unit", agent, "db1", []string{"-d", `{"unit":"mariadb.service"}`,
			"understudy.agent.v1.SystemdService/GetUnit"},
			[]string{"ACTIVE_STATE_ACTIVE", `"invocationId"`}, false},
		{"agent changes a unit with a grant", agent, "db1",
			[]string{"-d", `{"unit":"mariadb.service"}`,
				"understudy.agent.v1.SystemdService/EnsureUnit"},
			[]string{"ACTIVE_STATE_ACTIVE"}, false},
		{"agent refuses a unit that is not its own", agent, "db1",
			[]string{"-d", `{"unit":"ssh.service"}`, "understudy.agent.v1.SystemdService/StopUnit"},
			[]string{"PermissionDenied", "ssh.service", "hint"}, true},
		{"agent refuses a path out of bounds", agent, "db1",
			[]string{"-d", `{"path":"/srv/mariadb/../../etc"}`,
				"understudy.agent.v1.MountService/EnsureUnmounted"},
			[]string{"InvalidArgument", "must be a clean path"}, true},
		{"agent does not format what is not blank", agent, "db1",
			[]string{"-d", `{"device_ids":["virtio-` + l.server("db1").GetDataVolume() +
				`"],"filesystem":"ext4","recorded_blank":true,` +
				`"filesystem_uuid":"b46345e9-8c01-5cb7-ba32-c7236b216bc8"}`,
				"understudy.agent.v1.MountService/FormatVolume"},
			[]string{"FailedPrecondition", "DEVICE_NOT_BLANK", "hint"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := l.grpcurl(t, c.server, c.target, c.args...)
			if (err != nil) != c.fails {
				t.Fatalf("grpcurl ended with %v:\n%s", err, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
		})
	}
	t.Run("a call ends with its grant", func(t *testing.T) { l.in(t).endsWithItsGrant(agent) })
	t.Run("root calls over the socket", func(t *testing.T) { l.in(t).rootCalls() })
	t.Run("nobody without a certificate", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=deploy/tools/grpcurl.mod",
			"grpcurl", "-insecure", agent, "list")
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("the agent let somebody without a certificate in:\n%s", out)
		}
	})
}

// refusesWithoutGrant has the operator change something of an agent that lets them read.
func (l *lab) refusesWithoutGrant(agent string) {
	l.t.Helper()
	out, err := l.grpcurl(l.t, "db1", agent, "-d", `{"unit":"mariadb.service"}`,
		"understudy.agent.v1.SystemdService/EnsureUnit")
	for _, want := range []string{"PermissionDenied", "GRANT_REQUIRED", "admin has no grant",
		"CreateAgentGrant", "servers/db1"} {
		if err == nil || !strings.Contains(out, want) {
			l.t.Errorf("without a grant %q is not in:\n%s", want, out)
		}
	}
}

// grpcurl calls a server with the operator's credentials. Flags come before the target, the symbol
// behind it.
func (l *lab) grpcurl(t *testing.T, server, target string, args ...string) (string, error) {
	flags := []string{"tool", "-modfile=deploy/tools/grpcurl.mod", "grpcurl", "-servername", server,
		"-cacert", filepath.Join(l.Credentials(), "ca.pem"), "-cert",
		filepath.Join(l.Credentials(), "cert.pem"), "-key",
		filepath.Join(l.Credentials(), "key.pem")}
	if args[0] == "-d" {
		flags, args = append(flags, args[:2]...), args[2:]
	}
	cmd := exec.CommandContext(t.Context(), "go", append(append(flags, target), args...)...)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// endsWithItsGrant has the operator freeze a filesystem, and takes the grant away meanwhile. Then
// the agent starts again, and hears of another grant.
func (l *lab) endsWithItsGrant(agent string) {
	l.t.Helper()
	freeze := func() (string, error) {
		return l.grpcurl(l.t, "db1", agent, "-d", `{"path":"/srv/mariadb","limit":"10s"}`,
			"understudy.agent.v1.MountService/FreezeFilesystem")
	}
	ended := make(chan string, 1)
	go func() {
		out, _ := freeze()
		ended <- out
	}()
	awaitTrue(l.t, time.Minute, "the filesystem is frozen", func() bool {
		out, err := l.Exec(l.t.Context(), "db1", "systemctl", "is-active",
			"understudy-freeze-srv-mariadb.service")
		return err == nil && strings.Contains(out, "active")
	})
	var list struct{ Grants []struct{ ID, State string } }
	if err := json.Unmarshal([]byte(l.run("agent", "grants", "db1", "-o", "json")),
		&list); err != nil {
		l.t.Fatal(err)
	}
	began := time.Now()
	for _, g := range list.Grants {
		l.run("agent", "revoke-grant", g.ID)
	}
	if out := <-ended; !strings.Contains(out, "GRANT_REQUIRED") {
		l.t.Errorf("the call ended after %s with:\n%s", time.Since(began), out)
	}
	l.t.Logf("the call ended %s after its grant began to end", time.Since(began))
	l.refusesWithoutGrant(agent)

	l.exec("db1", "systemctl", "stop", "understudy-agent")
	out := l.run("agent", "grant", "db1", "--for", "30m", "--reason", "while it is away")
	if !strings.Contains(out, "does not know it yet") {
		l.t.Errorf("a grant on an agent that is away:\n%s", out)
	}
	changes := func() bool {
		_, err := l.grpcurl(l.t, "db1", agent, "-d", `{"unit":"mariadb.service"}`,
			"understudy.agent.v1.SystemdService/ResetFailedUnit")
		return err == nil
	}
	for _, begin := range []string{"start", "restart"} {
		l.exec("db1", "systemctl", begin, "understudy-agent")
		awaitTrue(l.t, time.Minute, "the agent hears of the grant after a "+begin, changes)
	}
}

// rootCalls is the page's part for root of a host, on one with the unit as it is shipped.
func (l *lab) rootCalls() {
	l.t.Helper()
	binary := filepath.Join(l.t.TempDir(), "grpcurl")
	build := exec.CommandContext(l.t.Context(), "go", "build", "-modfile=deploy/tools/grpcurl.mod",
		"-o", binary, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		l.t.Fatal(err)
	}
	if out, err := l.fed(string(program), "db1", "sh", "-c",
		"cat > /root/grpcurl && chmod 0755 /root/grpcurl"); err != nil {
		l.t.Fatal(out, err)
	}
	call := func(args ...string) (string, error) {
		return l.Exec(l.t.Context(), "db1", append([]string{"/root/grpcurl", "-plaintext", "-unix",
			"-authority", "localhost"}, args...)...)
	}
	const socket, units = "/run/understudy-agent/agent.sock", "understudy.agent.v1.SystemdService/"
	if out, err := call(socket, "list"); err != nil ||
		!strings.Contains(out, "understudy.agent.v1.MariaDBService") {
		l.t.Errorf("list: %v\n%s", err, out)
	}
	if out, err := call("-d", `{"unit":"mariadb.service"}`, socket,
		units+"EnsureUnit"); err != nil || !strings.Contains(out, "ACTIVE_STATE_ACTIVE") {
		l.t.Errorf("a change: %v\n%s", err, out)
	}
	if out, err := call("-d", `{"unit":"ssh.service"}`, socket, units+"StopUnit"); err == nil {
		l.t.Errorf("a unit that is not its own was stopped:\n%s", out)
	}
	l.exec("db1", "rm", "/root/grpcurl")
}
