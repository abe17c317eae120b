package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/proto/rpc/authz/authztest"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// forMachines may be called without an identity, forAgents with an agent's.
var (
	forMachines = []string{"GetAuthority", "CheckJoinToken", "Enroll", "RenewExpired",
		"GetLoginIssuer", "Login", "BeginLogin", "ExchangeDeviceCode"}
	forAgents = []string{"CheckAgent", "Renew"}
)

func TestRules(t *testing.T) {
	t.Parallel()
	rules, err := app.Rules()
	if err != nil {
		t.Fatal(err)
	}
	authztest.Sound(t, rules, methods(), cpv1.EnrollmentService_RenewOperator_FullMethodName)
	authztest.Page(t, "../../../docs/roles.md", "control plane", rules, *update)
	for method, roles := range rules {
		name := method[strings.LastIndex(method, "/")+1:]
		for _, role := range roles {
			if role == identity.RoleAnonymous && !slices.Contains(forMachines, name) ||
				role == identity.RoleAgent && !slices.Contains(forAgents, name) {
				t.Errorf("%s may call %s", role, method)
			}
		}
	}
}

func TestEachRoleCallsWhatItMay(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	rules, err := app.Rules()
	if err != nil {
		t.Fatal(err)
	}
	stranger := p.Dial(&identity.Static{Roots: p.credentials().Roots})
	local, err := chassis.DialLocal(filepath.Join(p.Dir, "break-glass.sock"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	as := map[identity.Role]*grpc.ClientConn{
		identity.RoleAnonymous: stranger, identity.RoleBreakGlass: local,
		identity.RoleAgent:  p.Dial(p.enrol(stranger, "db1")),
		identity.RoleViewer: p.Dial(p.operator("vic", cpv1.OperatorRole_OPERATOR_ROLE_VIEWER)),
		identity.RoleOperator: p.Dial(p.operator("ann",
			cpv1.OperatorRole_OPERATOR_ROLE_UNSPECIFIED)),
		identity.RoleAdmin: p.Dial(p.operator("ada", cpv1.OperatorRole_OPERATOR_ROLE_ADMIN)),
	}
	authztest.Held(t, rules, methods(), as)
}

// operator creates an operator by the plane's own connection, an admin's.
func (p *plane) operator(name string, role cpv1.OperatorRole) identity.Source {
	p.t.Helper()
	key, request := p.newKey()
	made, err := cpv1.NewEnrollmentServiceClient(p.conn).CreateOperator(p.t.Context(),
		&cpv1.CreateOperatorRequest{Name: "operators/" + name, Role: role, Csr: request})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.source(key, made.GetCertificate().GetCertificatePem())
}

func (p *plane) source(key *ecdsa.PrivateKey, certificate []byte) identity.Source {
	p.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate,
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		p.t.Fatal(err)
	}
	return &identity.Static{Certificate: &pair, Roots: p.credentials().Roots}
}

func (p *plane) credentials() *identity.Credentials {
	c, err := apptest.Operator(p.t, p.Dir).Credentials()
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// enrol gets an agent's identity as a new machine does: by the join file, over a connection without
// a certificate.
func (p *plane) enrol(stranger *grpc.ClientConn, server string) identity.Source {
	p.t.Helper()
	answer, err := cpv1.NewEnrollmentServiceClient(p.conn).CreateJoinToken(p.t.Context(),
		&cpv1.CreateJoinTokenRequest{Server: "servers/" + server})
	if err != nil {
		p.t.Fatal(err)
	}
	var file identity.JoinFile
	if err := json.Unmarshal(answer.GetJoinFile(), &file); err != nil {
		p.t.Fatal(err)
	}
	if len(file.ControlPlane) != 1 || file.ControlPlane[0] != "192.0.2.1:7440" {
		p.t.Errorf("the join file leads to %v", file.ControlPlane)
	}
	key, request := p.newKey()
	_, other := p.newKey()
	enrolled, err := cpv1.NewEnrollmentServiceClient(stranger).Enroll(p.t.Context(),
		&cpv1.EnrollRequest{Proof: &cpv1.EnrollRequest_Token{Token: file.Token}, Server: server,
			AgentCsr: request, MariadbCsr: other})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.source(key, enrolled.GetCertificates().GetAgentPem())
}

func (p *plane) newKey() (*ecdsa.PrivateKey, []byte) {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "any"}}, key)
	if err != nil {
		p.t.Fatal(err)
	}
	return key, request
}
