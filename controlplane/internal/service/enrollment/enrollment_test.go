package enrollment_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/query"
	"github.com/understudy-db/understudy/controlplane/internal/service/enrollment"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/store/storetest"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane is a control plane that serves enrolment alone: own CA, own store, real TLS.
type plane struct {
	t         *testing.T
	address   string
	registry  *ca.Registry
	operator  identity.Source // an admin
	operators query.Operators
	tokens    query.Tokens
	grants    query.Grants
	away      string // why agents do not know of grants
	dialled   []string
}

// Reach notes whom it was to reach.
func (p *plane) Reach(_ context.Context, server, host string) (string, error) {
	p.dialled = append(p.dialled, server+" at "+host)
	return host + ":7443", nil
}

// Address knows no server.
func (p *plane) Address(context.Context, string) (string, error) {
	return "", inventory.ErrNotFound
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	dir, logger := t.TempDir(), slog.New(slog.NewTextHandler(io.Discard, nil))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &plane{t: t, address: listener.Addr().String()}
	records := storetest.New(t)
	authority, err := ca.OpenAuthority(t.Context(), ca.AuthorityConfig{
		Dir: filepath.Join(dir, "ca"), Logger: logger})
	must(t, err)
	p.registry, err = ca.New(t.Context(),
		ca.Config{Authority: authority, ControlPlane: []string{p.address}, Logger: logger,
			Store: ca.StoreOf(records, func(tx *store.Tx) ca.Records {
				return ca.Records{Tokens: tx.JoinTokens(), Certificates: tx.Certificates(),
					Events: tx.Events(), Grants: tx.AgentGrants(), Requests: tx.Requests(),
					HasAgent: func(context.Context, string) error { return nil }}
			})})
	must(t, err)
	own := p.keep(filepath.Join(dir, "controlplane"), identity.ControlPlane())
	p.operator = p.keep(filepath.Join(dir, "operator"), identity.Admin("ann"))
	p.operators, p.tokens = query.Operators{Store: records}, query.Tokens{Store: records}
	p.grants = query.Grants{Store: records}
	p.serve(listener, own, logger)
	return p
}

func (p *plane) keep(dir string, id identity.Identity) identity.Source {
	p.t.Helper()
	kept := ca.Kept{Dir: dir, Identity: id}
	must(p.t, p.registry.Keep(p.t.Context(), kept))
	files, err := identity.NewFiles(kept.Files())
	must(p.t, err)
	return files
}

func (p *plane) serve(listener net.Listener, own identity.Source, logger *slog.Logger) {
	p.t.Helper()
	service, err := enrollment.New(enrollment.Config{Registry: p.registry, Agents: p,
		Servers: p, Operators: p.operators, Tokens: p.tokens, Grants: p.grants,
		Granting: ca.NewGranting(p.registry),
		Deliver:  func(context.Context, inventory.AgentGrant) string { return p.away }})
	must(p.t, err)
	server, err := chassis.New(chassis.Config{Listener: listener, Rules: enrollment.Rules(),
		Logger: logger,
		TLS: identity.ServerConfig{Source: own, AllowAnonymous: true,
			Revoked: p.registry.Denied}})
	must(p.t, err)
	controlplanev1.RegisterEnrollmentServiceServer(server, service)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		must(p.t, <-done)
	})
}

func (p *plane) client(source identity.Source) controlplanev1.EnrollmentServiceClient {
	p.t.Helper()
	conn, err := chassis.Dial(chassis.DialConfig{Address: p.address,
		TLS: identity.ClientConfig{Source: source, Expect: identity.ControlPlane()}})
	must(p.t, err)
	p.t.Cleanup(func() { must(p.t, conn.Close()) })
	return controlplanev1.NewEnrollmentServiceClient(conn)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine is what a new machine has: a join file and two keys.
type machine struct {
	file         identity.JoinFile
	key          *ecdsa.PrivateKey
	agent, maria []byte
}

func (p *plane) machine(server string) machine {
	p.t.Helper()
	answer, err := p.client(p.operator).CreateJoinToken(p.t.Context(),
		&controlplanev1.CreateJoinTokenRequest{Server: "servers/" + server})
	must(p.t, err)
	file, err := identity.ParseJoinFile(answer.GetJoinFile())
	must(p.t, err)
	m := machine{file: file}
	m.key, m.agent = newKey(p.t)
	_, m.maria = newKey(p.t)
	return m
}

var noToken = &controlplanev1.EnrollRequest_Token{Token: "x"}

func newKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	return key, der
}

func (m machine) stranger(t *testing.T) identity.Source {
	roots, err := m.file.Roots()
	must(t, err)
	return &identity.Static{Roots: roots}
}

func (m machine) request() *controlplanev1.EnrollRequest {
	return &controlplanev1.EnrollRequest{
		Proof: &controlplanev1.EnrollRequest_Token{Token: m.file.Token}, Server: m.file.Server,
		AgentCsr: m.agent, MariadbCsr: m.maria}
}

// identity is the machine's identity made of the answer.
func (m machine) identity(t *testing.T, certificates *controlplanev1.Certificates) identity.Source {
	t.Helper()
	block, _ := pem.Decode(certificates.GetAgentPem())
	roots := x509.NewCertPool()
	if block == nil || !roots.AppendCertsFromPEM(certificates.GetCaPem()) {
		t.Fatal("no PEM")
	}
	return &identity.Static{Roots: roots,
		Certificate: &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: m.key}}
}

func TestTheWholeLifeOfAnIdentity(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m, ctx := p.machine("db-1"), t.Context()
	answer, err := p.client(m.stranger(t)).Enroll(ctx, m.request())
	must(t, err)
	agent := p.client(m.identity(t, answer.GetCertificates()))
	renewed, err := agent.Renew(ctx, &controlplanev1.RenewRequest{AgentCsr: m.agent,
		MariadbCsr: m.maria})
	must(t, err)
	again := p.client(m.identity(t, renewed.GetCertificates()))
	_, err = again.Renew(ctx, &controlplanev1.RenewRequest{AgentCsr: m.agent, MariadbCsr: m.maria})
	must(t, err)
	revoked, err := p.client(p.operator).Revoke(ctx,
		&controlplanev1.RevokeRequest{Name: "servers/db-1", Reason: "stolen"})
	must(t, err)
	if len(revoked.GetSerials()) != 6 {
		t.Errorf("revoked %v", revoked.GetSerials())
	}
	// The connection that is open is refused in the call, a new one in the handshake.
	_, err = agent.Renew(ctx, &controlplanev1.RenewRequest{AgentCsr: m.agent, MariadbCsr: m.maria})
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_CERTIFICATE_REVOKED ||
		errs.HintOf(err).String() == "" {
		t.Error(err)
	}
	_, err = p.client(m.identity(t, renewed.GetCertificates())).Renew(ctx,
		&controlplanev1.RenewRequest{})
	if !errors.Is(err, errs.Unavailable) || !strings.Contains(errs.HintOf(err).String(),
		"revocation") {
		t.Errorf("%v; hint %q", err, errs.HintOf(err).String())
	}
}

func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m := p.machine("db-1")
	answer, err := p.client(m.stranger(t)).Enroll(t.Context(), m.request())
	must(t, err)
	callers := map[string]controlplanev1.EnrollmentServiceClient{
		"stranger": p.client(m.stranger(t)),
		"agent":    p.client(m.identity(t, answer.GetCertificates())),
		"operator": p.client(p.operator),
	}
	calls := map[string]func(controlplanev1.EnrollmentServiceClient) error{
		"create": func(c controlplanev1.EnrollmentServiceClient) error {
			_, err := c.CreateJoinToken(t.Context(),
				&controlplanev1.CreateJoinTokenRequest{Server: "servers/db-2"})
			return err
		},
		"enroll": func(c controlplanev1.EnrollmentServiceClient) error {
			_, err := c.Enroll(t.Context(), m.request())
			return err
		},
		"renew": func(c controlplanev1.EnrollmentServiceClient) error {
			_, err := c.Renew(t.Context(), &controlplanev1.RenewRequest{AgentCsr: m.agent,
				MariadbCsr: m.maria})
			return err
		},
		"revoke": func(c controlplanev1.EnrollmentServiceClient) error {
			_, err := c.Revoke(t.Context(), &controlplanev1.RevokeRequest{Name: "servers/db-1",
				Reason: "stolen", ValidateOnly: true})
			return err
		},
	}
	allowed := map[string]string{"create": "operator", "enroll": "stranger", "renew": "agent",
		"revoke": "operator"}
	for who, client := range callers {
		for name, call := range calls {
			err := call(client)
			if (allowed[name] == who) != (err == nil) {
				t.Errorf("%s calls %s: %v", who, name, err)
			}
			if err != nil && !errors.Is(err, errs.PermissionDenied) &&
				!errors.Is(err, errs.Unauthenticated) {
				t.Errorf("%s calls %s: %v", who, name, err)
			}
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m, operator, ctx := p.machine("db-1"), p.client(p.operator), t.Context()
	stranger := p.client(m.stranger(t))
	create := func(req *controlplanev1.CreateJoinTokenRequest) error {
		_, err := operator.CreateJoinToken(ctx, req)
		return err
	}
	revoke := func(req *controlplanev1.RevokeRequest) error {
		_,
			err := operator.Revoke(ctx, req)
		return err
	}
	enrol := func(req *controlplanev1.EnrollRequest) error {
		_,
			err := stranger.Enroll(ctx, req)
		return err
	}
	tests := []struct {
		name  string
		err   error
		kind  error
		field string
	}{
		{"no server", create(&controlplanev1.CreateJoinTokenRequest{}), errs.InvalidArgument,
			"server"},
		{"bare server", create(&controlplanev1.CreateJoinTokenRequest{Server: "db-1"}),
			errs.InvalidArgument, "server"},
		{"path in server", create(&controlplanev1.CreateJoinTokenRequest{Server: "servers/../x"}),
			errs.InvalidArgument, "server"},
		{"newline in server",
			create(&controlplanev1.CreateJoinTokenRequest{Server: "servers/a\nb"}),
			errs.InvalidArgument, "server"},
		{"negative ttl", create(&controlplanev1.CreateJoinTokenRequest{Server: "servers/db-1",
			Ttl: durationpb.New(-1)}), errs.InvalidArgument, "ttl"},
		{"endless ttl", create(&controlplanev1.CreateJoinTokenRequest{Server: "servers/db-1",
			Ttl: &durationpb.Duration{Seconds: 1 << 50}}), errs.InvalidArgument, "ttl"},
		{"revoke nobody", revoke(&controlplanev1.RevokeRequest{Reason: "why"}),
			errs.InvalidArgument, "name"},
		{"revoke two", revoke(&controlplanev1.RevokeRequest{Reason: "why", Subject: "1",
			Name: "operators/ann"}), errs.InvalidArgument, "subject"},
		{"revoke the control plane", revoke(&controlplanev1.RevokeRequest{Name: "controlplane"}),
			errs.InvalidArgument, "name"},
		{"revoke with a book",
			revoke(&controlplanev1.RevokeRequest{Name: "servers/db-1",
				Reason: strings.Repeat("x", 201)}), errs.InvalidArgument, "reason"},
		{"revoke the unknown", revoke(&controlplanev1.RevokeRequest{Name: "operators/bob",
			Reason: "left"}), errs.NotFound, ""},
		{"revoke without a reason", revoke(&controlplanev1.RevokeRequest{Name: "operators/bob"}),
			errs.InvalidArgument, "reason"},
		{"empty", enrol(&controlplanev1.EnrollRequest{}), errs.InvalidArgument, "server"},
		{"garbage", enrol(&controlplanev1.EnrollRequest{
			Proof: noToken, Server: "db-1",
			AgentCsr: []byte("x"), MariadbCsr: []byte("x")}), errs.InvalidArgument, "agent_csr"},
		{"wrong token", enrol(&controlplanev1.EnrollRequest{
			Proof: noToken, Server: "db-1",
			AgentCsr: m.agent, MariadbCsr: m.maria}), errs.PermissionDenied, ""},
	}
	for _, test := range tests {
		fields := errs.FieldsOf(test.err)
		if !errors.Is(test.err, test.kind) || test.field != "" &&
			(len(fields) == 0 || fields[0].Field != test.field) {
			t.Errorf("%s: %v %v", test.name, test.err, fields)
		}
	}
	answer, err := stranger.Enroll(ctx, m.request())
	if err != nil || len(answer.GetCertificates().GetAgentPem()) == 0 {
		t.Errorf("bad requests spent the token: %v", err)
	}
}

func TestStrangersAreHeldDown(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m := p.machine("db-1")
	client := p.client(m.stranger(t))
	var err error
	for range 60 {
		if _, err = client.Enroll(t.Context(),
			&controlplanev1.EnrollRequest{Proof: noToken, Server: "db-1"}); errors.Is(err,
			errs.ResourceExhausted) {
			break
		}
	}
	after, said := errs.RetryOf(err)
	if !errors.Is(err, errs.ResourceExhausted) || !said || after <= 0 || after > time.Second {
		t.Errorf("%v: retry after %v", err, after)
	}
}

func TestEveryMethodHasARule(t *testing.T) {
	t.Parallel()
	methods := authz.MethodsOf(
		controlplanev1.File_understudy_controlplane_v1_enrollment_service_proto)
	if err := authz.Complete(enrollment.Rules(), methods); err != nil {
		t.Error(err)
	}
}

var _ grpc.ServiceRegistrar = (*chassis.Server)(nil)
