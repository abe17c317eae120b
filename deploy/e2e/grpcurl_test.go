//go:build lab

package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testGrpcurl drives an agent and the control plane by hand, as docs/grpcurl.md shows it.
func (l *lab) testGrpcurl(t *testing.T) {
	agent := l.server("db1").GetAddress() + ":7443"
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
	t.Run("nobody without a certificate", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=deploy/tools/grpcurl.mod",
			"grpcurl", "-insecure", agent, "list")
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("the agent let somebody without a certificate in:\n%s", out)
		}
	})
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
