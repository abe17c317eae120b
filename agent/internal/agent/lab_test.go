//go:build lab

package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/agent/internal/lab"
	"github.com/understudy-db/understudy/deploy/systemd"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

const (
	unitName = "understudy-agent.service"
	state    = "/var/lib/understudy-agent"
	address  = "127.0.0.1:7443"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(m, lab.Options{Agent: true, Environ: os.Environ()}))
}

// installed is an agent that runs as a unit of the host, and its control plane's connection.
type installed struct {
	ca   *identitytest.CA
	conn *grpc.ClientConn
}

// install puts the agent on the host as its package does, with an identity, and starts it.
func install(t *testing.T) *installed {
	t.Helper()
	a := &installed{ca: identitytest.New(t)}
	lab.Write(t, "/etc/systemd/system/"+unitName, string(systemd.AgentUnitFile()))
	lab.Write(t, "/etc/understudy-agent/agent.yaml", string(systemd.AgentConfig()))
	a.plantIdentity(t, "db-1")
	lab.Run(t, "systemctl", "daemon-reload")
	lab.Run(t, "systemctl", "start", unitName)
	t.Cleanup(func() {
		lab.Try("systemctl", "stop", unitName)
		os.RemoveAll(state)
		os.RemoveAll("/etc/systemd/system/" + unitName + ".d")
	})
	a.conn = a.dial(t, a.ca.Source(identity.ControlPlane()))
	return a
}

// plantIdentity leaves what an enrolment leaves.
func (a *installed) plantIdentity(t *testing.T, name string) {
	t.Helper()
	slot := filepath.Join(state, "identity", "a")
	if err := os.MkdirAll(filepath.Join(slot, "mariadb"), 0o700); err != nil {
		t.Fatal(err)
	}
	a.ca.WriteFiles(slot, a.ca.Issue(identity.Agent(name)))
	a.ca.WriteFiles(filepath.Join(slot, "mariadb"), a.ca.Issue(identity.Agent(name)))
	lab.Write(t, filepath.Join(slot, "meta.json"), `{"purpose":"test","server":"`+name+
		`","control_plane":["127.0.0.1:1"]}`)
	if err := os.Symlink("a", filepath.Join(state, "identity", "current")); err != nil {
		t.Fatal(err)
	}
}

func (a *installed) dial(t *testing.T, source identity.Source) *grpc.ClientConn {
	t.Helper()
	conn, err := chassis.Dial(chassis.DialConfig{Address: address,
		TLS: identity.ClientConfig{Source: source, Expect: identity.Agent("db-1")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func show(t *testing.T, property string) string {
	t.Helper()
	return lab.Run(t, "systemctl", "show", "-P", property, unitName)
}

func TestTheAgentIsAUnit(t *testing.T) {
	a := install(t)
	if got := show(t, "StatusText"); got != "serving as db-1 on [::]:7443" {
		t.Errorf("status = %q", got)
	}
	host, err := agentv1.NewHostServiceClient(a.conn).GetHost(t.Context(),
		&agentv1.GetHostRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if host.GetServer() != "db-1" || host.GetMariadbVersion() == "" ||
		host.GetSystemdVersion() == "" || host.GetMemoryBytes() == 0 ||
		len(host.GetBootId()) != 36 {
		t.Errorf("host = %v", host)
	}
	out, err := lab.Try("understudy-agent", "check")
	if err == nil || !strings.Contains(out, "spiffe://understudy/agent/db-1") ||
		strings.Count(out, "missing") != 1 || !strings.Contains(out, "missing  control plane") {
		t.Errorf("only the control plane is missing, but: %v\n%s", err, out)
	}
}

func TestMariaDBIsMadeReady(t *testing.T) {
	a := install(t)
	lab.Run(t, "systemctl", "stop", "mariadb.service", "mariadb.socket", "mariadb-extra.socket")
	lab.Run(t, "systemctl", "mask", "mariadb.service")
	stream, err := agentv1.NewSystemdServiceClient(a.conn).EnsureUnit(t.Context(),
		&agentv1.EnsureUnitRequest{Unit: "mariadb.service"})
	if err != nil {
		t.Fatal(err)
	}
	var last *agentv1.EnsureUnitResponse
	for last.GetUnit() == nil {
		if last, err = stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if last.GetUnit().GetActiveState() != agentv1.Unit_ACTIVE_STATE_ACTIVE ||
		!strings.Contains(strings.Join(last.GetChanges(), ","), "unmasked") {
		t.Errorf("last = %v", last)
	}
	status, err := agentv1.NewMariaDBServiceClient(a.conn).GetStatus(t.Context(),
		&agentv1.GetStatusRequest{})
	if err != nil || !status.GetStatus().GetAnswers() {
		t.Errorf("status = %v, %v", status, err)
	}
}

// data is a volume that is mounted by the agent itself.
func (a *installed) data(t *testing.T) {
	t.Helper()
	t.Cleanup(forgetMounts)
	v := lab.NewVolume(t, "vol-1", 64)
	lab.Run(t, "mkfs.ext4", "-q", v.Device)
	stream, err := agentv1.NewMountServiceClient(a.conn).EnsureMount(t.Context(),
		&agentv1.EnsureMountRequest{DeviceIds: []string{v.ID}, Path: "/srv/mariadb"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetMount() != nil {
			return
		}
	}
}

func (a *installed) freeze(t *testing.T,
	ctx context.Context) agentv1.MountService_FreezeFilesystemClient {
	t.Helper()
	stream, err := agentv1.NewMountServiceClient(a.conn).FreezeFilesystem(ctx,
		&agentv1.FreezeFilesystemRequest{Path: "/srv/mariadb"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || !m.GetFrozen() {
		t.Fatalf("%v, %v", m, err)
	}
	return stream
}

// writes says whether a write goes through in that time.
func writes(within time.Duration) bool {
	done := make(chan error, 1)
	go func() { done <- os.WriteFile("/srv/mariadb/probe", []byte("x"), 0o600) }()
	select {
	case err := <-done:
		return err == nil
	case <-time.After(within):
		return false
	}
}

// S2, invariant 10: the limit is 10 s, all of these are faster
func TestNothingStaysFrozen(t *testing.T) {
	tests := map[string]func(t *testing.T, cancel context.CancelFunc){
		"the caller goes": func(_ *testing.T, cancel context.CancelFunc) { cancel() },
		"the agent is killed": func(t *testing.T,
			_ context.CancelFunc) {
			lab.Run(t, "systemctl", "kill", "-s", "KILL", unitName)
		},
		"the agent stops": func(t *testing.T,
			_ context.CancelFunc) {
			lab.Run(t, "systemctl", "stop", unitName)
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			a := install(t)
			a.data(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a.freeze(t, ctx)
			if writes(200 * time.Millisecond) {
				t.Fatal("it is not frozen")
			}
			end(t, cancel)
			if !writes(8 * time.Second) {
				t.Fatal("it is still frozen")
			}
			lab.Eventually(t, time.Minute, "the guard is gone", func() bool {
				out, _ := lab.Try("systemctl", "is-active",
					"understudy-freeze-srv-mariadb.service")
				return out == "inactive"
			})
		})
	}
}

func TestAnAgentThatHangsIsRestarted(t *testing.T) {
	install(t)
	lab.Write(t, "/etc/systemd/system/"+unitName+".d/fast.conf", "[Service]\nWatchdogSec=2\n")
	lab.Run(t, "systemctl", "daemon-reload")
	lab.Run(t, "systemctl", "restart", unitName)
	before := show(t, "InvocationID")
	lab.Run(t, "systemctl", "kill", "-s", "STOP", unitName)
	lab.Eventually(t, time.Minute, "systemd restarts it", func() bool {
		return show(t, "InvocationID") != before && show(t, "ActiveState") == "active"
	})
}

func TestStopIsOrderly(t *testing.T) {
	a := install(t)
	stream, err := agentv1.NewSystemdServiceClient(a.conn).WatchUnits(t.Context(),
		&agentv1.WatchUnitsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	lab.Run(t, "systemctl", "stop", unitName)
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("the stop took %s although only a watch was open", took)
	}
	if got := show(t, "Result"); got != "success" {
		t.Errorf("result = %s", got)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if !isUnavailable(err) {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestAHostWithoutAnIdentitySaysSo(t *testing.T) {
	install(t)
	lab.Run(t, "systemctl", "stop", unitName)
	os.RemoveAll(filepath.Join(state, "identity"))
	lab.Run(t, "systemctl", "start", "--no-block", unitName)
	lab.Eventually(t, time.Minute, "its status says so",
		func() bool { return strings.Contains(show(t, "StatusText"), "not enrolled") })
	out, err := lab.Try("understudy-agent", "check")
	if err == nil || !strings.Contains(out, "no join file") {
		t.Errorf("check: %v\n%s", err, out)
	}
}
