package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/authz/authztest"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func served() map[string]protoreflect.MethodDescriptor {
	return authztest.Methods(agentv1.File_understudy_agent_v1_host_service_proto,
		agentv1.File_understudy_agent_v1_systemd_service_proto,
		agentv1.File_understudy_agent_v1_mount_service_proto,
		agentv1.File_understudy_agent_v1_mariadb_service_proto,
		agentv1.File_understudy_agent_v1_observation_service_proto,
		agentv1.File_understudy_agent_v1_audit_service_proto)
}

func TestRules(t *testing.T) {
	t.Parallel()
	table, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	authztest.Sound(t, table, served())
}

// The services do nothing here, since a call that is allowed would change this host. The lab calls
// a whole agent: TestWhoMayCall.
func TestEachRoleCallsWhatItMay(t *testing.T) {
	t.Parallel()
	table, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ca := identitytest.New(t)
	server, err := chassis.New(chassis.Config{Listener: listener, Rules: table,
		TLS:    identity.ServerConfig{Source: ca.Source(identity.Agent("db1"))},
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	agentv1.RegisterHostServiceServer(server, agentv1.UnimplementedHostServiceServer{})
	agentv1.RegisterSystemdServiceServer(server, agentv1.UnimplementedSystemdServiceServer{})
	agentv1.RegisterMountServiceServer(server, agentv1.UnimplementedMountServiceServer{})
	agentv1.RegisterMariaDBServiceServer(server, agentv1.UnimplementedMariaDBServiceServer{})
	agentv1.RegisterAuditServiceServer(server, agentv1.UnimplementedAuditServiceServer{})
	agentv1.RegisterObservationServiceServer(server,
		agentv1.UnimplementedObservationServiceServer{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	as := map[identity.Role]*grpc.ClientConn{}
	for _, who := range []identity.Identity{identity.Viewer("vic"), identity.Operator("ann"),
		identity.Admin("ada"), identity.Agent("db2"), identity.ControlPlane()} {
		conn, err := chassis.Dial(chassis.DialConfig{Address: listener.Addr().String(),
			TLS: identity.ClientConfig{Source: ca.Source(who), Expect: identity.Agent("db1")}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		as[who.Role] = conn
	}
	authztest.Held(t, table, served(), as)
}

// What the proto files declare as free of effects needs no grant, and what an operator may change
// needs one: the tables and the files say the same.
func TestWhatOperatorsChangeNeedsAGrant(t *testing.T) {
	t.Parallel()
	for i, names := range []methods{observed(), examined(), changed()} {
		for method := range names.by(nil) {
			if changes := i == 2; authz.Changes(method) != changes {
				t.Errorf("%s: that it changes something is %t by its rule alone", method, changes)
			}
		}
	}
}

// A revoked agent is on no deny list of agents: none of their methods answers the certificate of an
// agent, revoked or not. TestEachRoleCallsWhatItMay calls each of them with one.
func TestNoAgentIsCalledByAnother(t *testing.T) {
	t.Parallel()
	table, err := Rules()
	if err != nil {
		t.Fatal(err)
	}
	for method := range served() {
		if slices.Contains(table[method], identity.RoleAgent) {
			t.Errorf("%s answers other agents, of which none knows who is revoked", method)
		}
	}
}

// Which servers an operator works with is on record at the control plane, and at no agent.
func TestNoAgentIsCalledByWhoWorksWithSomeServers(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"", identity.ScopedUnit} {
		cert := &x509.Certificate{URIs: []*url.URL{identity.Operator("ann").URI()}}
		if unit != "" {
			cert.Subject.OrganizationalUnit = []string{unit}
		}
		ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{
			State: tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}}})
		if err := wholeFleet(ctx); errors.Is(err, errs.PermissionDenied) != (unit != "") {
			t.Errorf("%q: %v", unit, err)
		}
	}
}
