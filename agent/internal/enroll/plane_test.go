package enroll_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/agent/internal/enroll"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane is a control plane that knows one rule: a token is for the key that came with it first.
type plane struct {
	controlplanev1.UnimplementedEnrollmentServiceServer

	t       *testing.T
	ca      *identitytest.CA
	address string

	mu     sync.Mutex
	shows  identity.Source   // what it shows and believes itself
	tokens map[string]string // token -> key, "" while unused
	keys   []string          // that got certificates, in order
	life   time.Duration
	// mariadbLife is that of MariaDB's certificates, life when 0.
	mariadbLife time.Duration
	// refuses renews nothing that has expired.
	refuses bool
	// called when the effect is made: an error loses the answer
	after  func() error
	answer func(*controlplanev1.Certificates) // spoils the answer
	claims *identitytest.CA                   // the CA that it says it is of; its own when nil
	ahead  time.Duration                      // of its clock
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	return newPlaneOf(t, identitytest.New(t))
}

func newPlaneOf(t *testing.T, ca *identitytest.CA) *plane {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, ca: ca, address: listener.Addr().String(),
		tokens: map[string]string{}, life: time.Hour / 2}
	p.shows = p.ca.Source(identity.ControlPlane())
	server, err := chassis.New(chassis.Config{
		Listener: listener, Logger: quiet(),
		TLS:   identity.ServerConfig{Source: p, AllowAnonymous: true},
		Rules: rules(),
	})
	if err != nil {
		t.Fatal(err)
	}
	controlplanev1.RegisterEnrollmentServiceServer(server, p)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// Credentials are what it shows and believes itself.
func (p *plane) Credentials() (*identity.Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shows.Credentials()
}

// rules let an agent call what it calls; everything else is an operator's.
func rules() authz.Table {
	all := authz.Table{}
	for _, method := range controlplanev1.EnrollmentService_ServiceDesc.Methods {
		all["/"+controlplanev1.EnrollmentService_ServiceDesc.ServiceName+"/"+method.MethodName] =
			[]identity.Role{identity.RoleOperator}
	}
	for _, method := range []string{controlplanev1.EnrollmentService_GetAuthority_FullMethodName,
		controlplanev1.EnrollmentService_CheckJoinToken_FullMethodName,
		controlplanev1.EnrollmentService_RenewExpired_FullMethodName,
		controlplanev1.EnrollmentService_Enroll_FullMethodName} {
		all[method] = []identity.Role{identity.RoleAnonymous}
	}
	for _, method := range []string{controlplanev1.EnrollmentService_CheckAgent_FullMethodName,
		controlplanev1.EnrollmentService_Renew_FullMethodName} {
		all[method] = []identity.Role{identity.RoleAgent}
	}
	return all
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newEnough refuses an agent that does not say what it takes, as one below an intermediate does.
func newEnough(req interface{ GetTakesChain() bool }) error {
	if req.GetTakesChain() {
		return nil
	}
	return errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIMPLEMENTED,
		"too old", errs.WithHint("upgrade understudy-agent"))
}

func (p *plane) Enroll(_ context.Context,
	req *controlplanev1.EnrollRequest) (*controlplanev1.EnrollResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := newEnough(req); err != nil {
		return nil, err
	}
	key, print := p.key(req.GetAgentCsr())
	shown := req.GetToken() + string(req.GetEc2Identity())
	bound, known := p.tokens[shown]
	if !known || bound != "" && bound != print {
		return nil, errs.New(errs.PermissionDenied, errorsv1.Reason_REASON_TOKEN_USED,
			"the join token was used with another key",
			errs.WithHint("make a new join file"))
	}
	p.tokens[shown] = print
	certificates, err := p.certify(req.GetServer(), key, print, req.GetMariadbCsr(),
		req.GetMariadbGeneration())
	return &controlplanev1.EnrollResponse{Certificates: certificates}, err
}

func (p *plane) Renew(ctx context.Context,
	req *controlplanev1.RenewRequest) (*controlplanev1.RenewResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := newEnough(req); err != nil {
		return nil, err
	}
	key, print := p.key(req.GetAgentCsr())
	certificates, err := p.certify(identity.PeerOf(ctx).Identity.Name, key, print,
		req.GetMariadbCsr(), req.GetMariadbGeneration())
	return &controlplanev1.RenewResponse{Certificates: certificates}, err
}

// RenewExpired knows the rule too: only the key counts that was certified last.
func (p *plane) RenewExpired(_ context.Context, req *controlplanev1.RenewExpiredRequest,
) (*controlplanev1.RenewExpiredResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := newEnough(req); err != nil {
		return nil, err
	}
	key, print := p.key(req.GetCsr())
	if p.refuses || len(p.keys) == 0 || p.keys[len(p.keys)-1] != print {
		return nil, errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_UNAUTHENTICATED,
			"not the newest key", errs.WithHint("ask an admin"))
	}
	block, _ := pem.Decode(req.GetCertificatePem())
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	who, err := identity.FromCertificate(cert)
	if err != nil {
		return nil, err
	}
	certificates, err := p.certify(who.Name, key, print, nil, "")
	return &controlplanev1.RenewExpiredResponse{CaPem: certificates.GetCaPem(),
		CertificatePem: certificates.GetAgentPem()}, err
}

func (p *plane) key(der []byte) (*ecdsa.PublicKey, string) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		p.t.Error(err)
		return nil, ""
	}
	key, _ := csr.PublicKey.(*ecdsa.PublicKey)
	return key, string(csr.RawSubjectPublicKeyInfo)
}

func (p *plane) certify(server string, key *ecdsa.PublicKey, print string,
	mariadbCSR []byte, generation string) (*controlplanev1.Certificates, error) {
	p.keys = append(p.keys, print)
	lasts := func(life time.Duration) func(*x509.Certificate) {
		return func(cert *x509.Certificate) { cert.NotAfter = time.Now().Add(life) }
	}
	nobody := func(cert *x509.Certificate) {
		cert.URIs = []*url.URL{}
		cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth,
			x509.ExtKeyUsageClientAuth}
		cert.Subject = identity.MariaDB{Server: server, Generation: generation}.Subject()
	}
	certificates := &controlplanev1.Certificates{
		CaPem:    encode(p.ca.Certificate),
		AgentPem: encode(p.ca.Certify(key, identity.Agent(server), lasts(p.life))),
	}
	if len(mariadbCSR) > 0 {
		mariadbKey, _ := p.key(mariadbCSR)
		certificates.MariadbPem = encode(p.ca.Certify(mariadbKey, identity.Agent(server),
			lasts(cmp.Or(p.mariadbLife, p.life)), nobody))
	}
	if p.answer != nil {
		p.answer(certificates)
	}
	if p.after != nil {
		return certificates, p.after()
	}
	return certificates, nil
}

func encode(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// set changes the plane's ways while it runs.
func (p *plane) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// host is a machine's folders.
type host struct {
	t     *testing.T
	plane *plane
	dir   string
	told  chan struct{}
}

func newHost(t *testing.T, p *plane) *host {
	t.Helper()
	return &host{t: t, plane: p, dir: t.TempDir(), told: make(chan struct{}, 16)}
}

func (h *host) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

// give puts a join file on the machine.
func (h *host) give(token string, change ...func(*identity.JoinFile)) {
	h.t.Helper()
	h.plane.set(func() {
		if _, known := h.plane.tokens[token]; !known {
			h.plane.tokens[token] = ""
		}
	})
	file := identity.JoinFile{Server: "db-1", ControlPlane: []string{h.plane.address}, Token: token,
		CASPKISHA256: identity.Pin(h.plane.ca.Certificate),
		CAPEM:        string(encode(h.plane.ca.Certificate))}
	for _, c := range change {
		c(&file)
	}
	data, err := json.Marshal(file)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path("join.json"), data, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// start makes the Enroller of an agent that starts.
func (h *host) start(change ...func(*enroll.Config)) *enroll.Enroller {
	h.t.Helper()
	config := enroll.Config{StateDir: h.path("state"), JoinFile: h.path("join.json"),
		Logger:  quiet(),
		Changed: func(context.Context) error { h.told <- struct{}{}; return nil }}
	for _, c := range change {
		c(&config)
	}
	e, err := enroll.New(config)
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

// joined makes the machine join.
func (h *host) joined(token string) *enroll.Enroller {
	h.t.Helper()
	h.give(token)
	e := h.start()
	if name, err := e.Ensure(patience(h.t)); err != nil || name != "db-1" {
		h.t.Fatalf("%q %v", name, err)
	}
	return e
}

// check is what holds whenever a machine has an identity.
func (h *host) check(e *enroll.Enroller) {
	h.t.Helper()
	own, err := identity.NewFiles(e.Files())
	if err != nil {
		h.t.Fatal(err)
	}
	credentials, err := own.Credentials()
	if err != nil {
		h.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(credentials.Certificate.Certificate[0])
	if err != nil {
		h.t.Fatal(err)
	}
	if id, err := identity.FromCertificate(cert); err != nil || id != identity.Agent("db-1") {
		h.t.Errorf("%v %v", id, err)
	}
	if _, err := identity.NewFiles(e.MariaDBFiles()); err != nil {
		h.t.Error(err)
	}
	for _, key := range []string{e.Files().Key, e.MariaDBFiles().Key} {
		if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
			h.t.Errorf("%s: %v %v", key, info.Mode(), err)
		}
	}
	if _, err := os.Stat(h.path("join.json")); !os.IsNotExist(err) {
		h.t.Errorf("the join file is still there: %v", err)
	}
}

func (h *host) serial(e *enroll.Enroller) string {
	h.t.Helper()
	cert, err := identity.ReadCertificate(e.Files().Cert)
	if err != nil {
		h.t.Fatal(err)
	}
	return identity.Serial(cert)
}

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
