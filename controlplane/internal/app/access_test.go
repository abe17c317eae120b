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
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/controlplane/internal/app/apptest"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// forMachines may be called without an identity, forAgents with an agent's.
var (
	forMachines = []string{"GetAuthority", "CheckJoinToken", "Enroll"}
	forAgents   = []string{"CheckAgent", "Renew"}
)

func TestEveryMethodHasARule(t *testing.T) {
	t.Parallel()
	rules, err := app.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if err := authz.Complete(rules, authz.MethodsOf(files()...)); err != nil {
		t.Error(err)
	}
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

func TestStrangersAndAgentsAreShutOut(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	operator, requests := p.conn, sane()
	stranger := p.Dial(&identity.Static{Roots: p.credentials().Roots})
	agent := p.Dial(p.enrol(stranger, "db1"))
	defer func() { p.conn = operator }()
	for method, desc := range methods() {
		name := string(desc.Name())
		if p.conn = stranger; !slices.Contains(forMachines, name) {
			refused(t, p.send(method, desc, requests[name]), errs.Unauthenticated,
				errorsv1.Reason_REASON_UNAUTHENTICATED)
		}
		if p.conn = agent; !slices.Contains(forAgents, name) {
			refused(t, p.send(method, desc, requests[name]), errs.PermissionDenied,
				errorsv1.Reason_REASON_NOT_ALLOWED)
		}
	}
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
		&cpv1.EnrollRequest{Token: file.Token, Server: server, AgentCsr: request,
			MariadbCsr: other})
	if err != nil {
		p.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(enrolled.GetCertificates().GetAgentPem(),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		p.t.Fatal(err)
	}
	return &identity.Static{Certificate: &pair, Roots: p.credentials().Roots}
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
