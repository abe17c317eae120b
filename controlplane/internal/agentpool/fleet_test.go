package agentpool_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/agentpool"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	"github.com/understudy-db/understudy/proto/testport"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

// fleet is a CA, addresses, and a pool that finds agents there.
type fleet struct {
	t    *testing.T
	ca   *identitytest.CA
	pool *agentpool.Pool
	port int

	mu        sync.Mutex
	addresses map[string]string
	revoked   map[string]bool
}

func (f *fleet) denied(serial string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.revoked[serial]
}

func (f *fleet) revoke(serial string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked[serial] = true
}

// Address is where the test has put the server's agent.
func (f *fleet) Address(_ context.Context, server string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addresses[server], nil
}

func (f *fleet) move(server, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addresses[server] = address
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	port, err := testport.Free()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, ca: identitytest.New(t), addresses: map[string]string{},
		revoked: map[string]bool{}, port: port}
	f.pool, err = agentpool.New(agentpool.Config{
		Addresses: f, Source: f.ca.Source(identity.ControlPlane()), Revoked: f.denied, Port: f.port,
		Probe: 2 * time.Second, Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.pool.Close() })
	return f
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// agent is a running agent that answers as the test wants.
type agent struct {
	host    hostService
	systemd systemdService
	mounts  mountService
	mariadb mariadbService
	observe observationService
	audit   auditService
	serial  string // of its certificate
	stop    func()
}

// run starts an agent of that identity at an address, and stops it with the test.
func (f *fleet) run(a *agent, id identity.Identity, address string) *agent {
	f.t.Helper()
	listener, err := net.Listen("tcp", f.at(address))
	if err != nil {
		f.t.Fatal(err)
	}
	cert := f.ca.Issue(id)
	a.serial = identity.Serial(cert.Leaf)
	server, err := chassis.New(chassis.Config{
		Listener: listener, TLS: identity.ServerConfig{Source: &identity.Static{Certificate: cert,
			Roots: f.ca.Pool()}}, Rules: rules(), Logger: quiet(), Grace: time.Millisecond,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	agentv1.RegisterHostServiceServer(server, a.host)
	agentv1.RegisterSystemdServiceServer(server, a.systemd)
	agentv1.RegisterMountServiceServer(server, a.mounts)
	agentv1.RegisterMariaDBServiceServer(server, a.mariadb)
	agentv1.RegisterObservationServiceServer(server, a.observe)
	agentv1.RegisterAuditServiceServer(server, a.audit)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	})
	f.t.Cleanup(func() { a.stop() })
	return a
}

func (f *fleet) at(address string) string { return net.JoinHostPort(address, strconv.Itoa(f.port)) }

// db1 runs the agent of db1 at 127.0.0.2 and gives the pool's view of it.
func (f *fleet) db1(a *agent) *agent {
	f.t.Helper()
	f.move("db1", "127.0.0.2")
	return f.run(a, identity.Agent("db1"), "127.0.0.2")
}

func rules() authz.Table {
	table := authz.Table{}
	methods := authz.MethodsOf(agentv1.File_understudy_agent_v1_host_service_proto,
		agentv1.File_understudy_agent_v1_systemd_service_proto,
		agentv1.File_understudy_agent_v1_mount_service_proto,
		agentv1.File_understudy_agent_v1_mariadb_service_proto,
		agentv1.File_understudy_agent_v1_observation_service_proto,
		agentv1.File_understudy_agent_v1_audit_service_proto)
	for _, method := range methods {
		table[method] = []identity.Role{identity.RoleControlPlane}
	}
	return table
}
