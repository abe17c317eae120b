package grants

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-db/understudy/proto/loop"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	"github.com/understudy-db/understudy/proto/rpc/identity/identitytest"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hands are both clocks of a list, which a test moves.
type hands struct {
	mu    sync.Mutex
	wall  time.Time
	since time.Duration
}

// move moves both; step sets that of the host alone.
func (h *hands) move(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall, h.since = h.wall.Add(by), h.since+by
}

func (h *hands) step(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall = h.wall.Add(by)
}

func (h *hands) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wall
}

func (h *hands) list() *List {
	l := New("db1", slog.New(slog.DiscardHandler))
	l.clock = clock{wall: h.now, since: func() time.Duration {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.since
	}}
	return l
}

// agent is a server whose StopUnit does nothing, and whose EnsureUnit goes on until its call ends.
type agent struct {
	agentv1.UnimplementedSystemdServiceServer
	t       *testing.T
	ca      *identitytest.CA
	address string
	list    *List
	*hands

	mu   sync.Mutex
	kept []audit.Record
}

func (a *agent) StopUnit(context.Context, *agentv1.StopUnitRequest) (*agentv1.StopUnitResponse,
	error) {
	return &agentv1.StopUnitResponse{}, nil
}

func (a *agent) GetUnit(context.Context, *agentv1.GetUnitRequest) (*agentv1.GetUnitResponse,
	error) {
	return &agentv1.GetUnitResponse{}, nil
}

func (a *agent) EnsureUnit(_ *agentv1.EnsureUnitRequest,
	stream agentv1.SystemdService_EnsureUnitServer) error {
	if err := stream.Send(&agentv1.EnsureUnitResponse{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil // as one that thinks that its caller left
}

func (a *agent) Append(_ context.Context, one audit.Record) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = append(a.kept, one)
	return int64(len(a.kept)), nil
}

func serve(t *testing.T) *agent {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, ca: identitytest.New(t), address: listener.Addr().String(),
		hands: &hands{wall: time.Now()}}
	a.list = a.hands.list()
	log, err := audit.New(audit.Config{Sink: a, Key: audit.Key("key")})
	if err != nil {
		t.Fatal(err)
	}
	changers := authz.Changers(identity.RoleControlPlane)
	rules := authz.Table{}
	for _, method := range agentv1.SystemdService_ServiceDesc.Methods {
		rules["/understudy.agent.v1.SystemdService/"+method.MethodName] = changers
	}
	for _, stream := range agentv1.SystemdService_ServiceDesc.Streams {
		rules["/understudy.agent.v1.SystemdService/"+stream.StreamName] = changers
	}
	server, err := chassis.New(chassis.Config{Listener: listener, Rules: rules, Audit: log,
		Admit: a.list.Admit, Logger: slog.New(slog.DiscardHandler),
		TLS: identity.ServerConfig{Source: a.ca.Source(identity.Agent("db1"))}})
	if err != nil {
		t.Fatal(err)
	}
	agentv1.RegisterSystemdServiceServer(server, a)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- server.Run(ctx) }()
	go func() { a.list.Run(ctx, loop.NewSet(nil)); done <- nil }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
	return a
}

func (a *agent) as(cert *tls.Certificate) agentv1.SystemdServiceClient {
	a.t.Helper()
	conn, err := chassis.Dial(chassis.DialConfig{Address: a.address, TLS: identity.ClientConfig{
		Source: &identity.Static{Certificate: cert, Roots: a.ca.Pool()},
		Expect: identity.Agent("db1")}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.Close() })
	return agentv1.NewSystemdServiceClient(conn)
}

func (a *agent) stop(by agentv1.SystemdServiceClient) error {
	_, err := by.StopUnit(a.t.Context(), &agentv1.StopUnitRequest{Unit: "mariadb.service"})
	return err
}

func (a *agent) grant(id string, cert *tls.Certificate, left time.Duration) Grant {
	a.t.Helper()
	who, err := identity.FromCertificate(cert.Leaf)
	if err != nil {
		a.t.Fatal(err)
	}
	return Grant{ID: id, Operator: who.String(), Key: identity.KeyPrint(cert.Leaf), Left: left,
		End: a.now().Add(left), Reason: "a test"}
}

func (a *agent) set(sequence int64, all ...Grant) (inForce []string) {
	a.t.Helper()
	_, inForce, err := a.list.Set(sequence, all)
	if err != nil {
		a.t.Fatal(err)
	}
	return inForce
}

func (a *agent) refused(what string, err error) {
	a.t.Helper()
	if !errors.Is(err, errs.PermissionDenied) ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_GRANT_REQUIRED ||
		!strings.Contains(errs.HintOf(err).String(), "CreateAgentGrant") {
		a.t.Errorf("%s: %v; hint %q", what, err, errs.HintOf(err))
	}
}

func TestAnOperatorChangesNothingWithoutAGrant(t *testing.T) {
	t.Parallel()
	a := serve(t)
	cert := a.ca.Issue(identity.Operator("ann"))
	ann := a.as(cert)
	a.refused("no grant", a.stop(ann))
	if _, err := ann.GetUnit(t.Context(), &agentv1.GetUnitRequest{Unit: "a.service"}); err != nil {
		t.Errorf("a read: %v", err)
	}
	if err := a.stop(a.as(a.ca.Issue(identity.ControlPlane()))); err != nil {
		t.Errorf("the control plane: %v", err)
	}
	a.set(1, a.grant("grant-1", cert, time.Hour))
	if err := a.stop(ann); err != nil {
		t.Errorf("with a grant: %v", err)
	}
	renewed := a.ca.Certify(&cert.PrivateKey.(*ecdsa.PrivateKey).PublicKey,
		identity.Operator("ann"))
	if err := a.stop(a.as(&tls.Certificate{Certificate: [][]byte{renewed.Raw},
		PrivateKey: cert.PrivateKey})); err != nil {
		t.Errorf("with a renewed certificate: %v", err)
	}
	for what, other := range map[string]identity.Identity{
		"her name with another key": identity.Operator("ann"),
		"another operator":          identity.Operator("bob"),
		"her name in another role":  identity.Admin("ann")} {
		a.refused(what, a.stop(a.as(a.ca.Issue(other))))
	}
	a.refused("her key in another role", a.stop(a.as(&tls.Certificate{PrivateKey: cert.PrivateKey,
		Certificate: [][]byte{a.ca.Certify(&cert.PrivateKey.(*ecdsa.PrivateKey).PublicKey,
			identity.Admin("ann")).Raw}})))
	a.mu.Lock()
	defer a.mu.Unlock()
	begun := map[string]int{}
	for _, r := range a.kept {
		if r.Kind == audit.Begin {
			begun[r.Who+" "+r.Grant]++
		}
	}
	if len(begun) != 2 || begun["spiffe://understudy/operator/ann grant-1"] != 2 ||
		begun["spiffe://understudy/controlplane "] != 1 {
		t.Errorf("recorded %v", begun)
	}
}

// ensure begins a call that goes on, and says what it ended with.
func (a *agent) ensure(by agentv1.SystemdServiceClient) <-chan error {
	a.t.Helper()
	stream, err := by.EnsureUnit(a.t.Context(), &agentv1.EnsureUnitRequest{Unit: "a.service"})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		ended <- err
	}()
	return ended
}

func TestWhatIsCalledEndsWithItsGrant(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(a *agent){
		"revoked":                       func(a *agent) { a.set(3) },
		"over":                          func(a *agent) { a.move(time.Hour) },
		"over while the host was still": func(a *agent) { a.step(time.Hour) },
		"over although the clock was set back": func(a *agent) {
			a.step(-24 * time.Hour)
			a.move(time.Hour)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			a := serve(t)
			cert := a.ca.Issue(identity.Operator("ann"))
			ann := a.as(cert)
			a.set(1, a.grant("grant-1", cert, time.Hour))
			ended, plane := a.ensure(ann), a.ensure(a.as(a.ca.Issue(identity.ControlPlane())))
			a.set(2, a.grant("grant-1", cert, time.Hour)) // told again, it goes on
			if err := a.stop(ann); err != nil {
				t.Fatal(err)
			}
			end(a)
			a.refused("the stream", <-ended)
			a.refused("another call", a.stop(ann))
			select {
			case err := <-plane:
				t.Errorf("a call of the control plane ended: %v", err)
			default:
			}
		})
	}
}

func TestNoGrantIsProlonged(t *testing.T) {
	t.Parallel()
	a := serve(t)
	cert := a.ca.Issue(identity.Operator("ann"))
	ann := a.as(cert)
	a.set(1, a.grant("grant-1", cert, time.Hour))
	a.move(50 * time.Minute)
	a.step(-2 * time.Hour)
	// a control plane whose clock was set back as the host's tells of more than is left
	if got := a.set(2, a.grant("grant-1", cert, time.Hour)); !slices.Equal(got,
		[]string{"grant-1"}) {
		t.Errorf("in force: %v", got)
	}
	a.move(10 * time.Minute)
	a.refused("prolonged", a.stop(ann))
	late := a.grant("grant-2", cert, time.Hour)
	late.End = a.now().Add(-time.Minute)
	if got := a.set(3, late); len(got) > 0 {
		t.Errorf("over by the clock of the host, and in force: %v", got)
	}
	long := a.grant("grant-3", cert, 100*time.Hour)
	a.set(4, long)
	a.move(longest)
	a.refused("longer than any grant", a.stop(ann))
}

func TestAnOlderListIsRefused(t *testing.T) {
	t.Parallel()
	a := serve(t)
	cert := a.ca.Issue(identity.Operator("ann"))
	one, two := a.grant("grant-1", cert, time.Hour), a.grant("grant-2", cert, 2*time.Hour)
	if changed, _, err := a.list.Set(5, []Grant{one}); err != nil || !changed {
		t.Errorf("the first list: changed %t, %v", changed, err)
	}
	if changed, _, err := a.list.Set(5, []Grant{one}); err != nil || changed {
		t.Errorf("again: changed %t, %v", changed, err)
	}
	if _, _, err := a.list.Set(4, []Grant{one, two}); errs.ReasonOf(err) !=
		errorsv1.Reason_REASON_SUPERSEDED {
		t.Errorf("an older list: %v", err)
	}
	if got := a.set(5, one, two); !slices.Equal(got, []string{"grant-1", "grant-2"}) {
		t.Errorf("in force: %v", got)
	}
	ended := a.ensure(a.as(cert))
	a.set(6, one) // it was made under the one that lasts longer
	a.refused("under the grant that was revoked", <-ended)
	if err := a.stop(a.as(cert)); err != nil {
		t.Errorf("under the other one: %v", err)
	}
}

// A stream that was opened under a grant, and asks for something after its end, reaches no handler.
func TestARequestAfterTheEndReachesNoHandler(t *testing.T) {
	t.Parallel()
	a := serve(t)
	cert := a.ca.Issue(identity.Operator("ann"))
	a.set(1, a.grant("grant-1", cert, time.Hour))
	conn, err := chassis.Dial(chassis.DialConfig{Address: a.address, TLS: identity.ClientConfig{
		Source: &identity.Static{Certificate: cert, Roots: a.ca.Pool()},
		Expect: identity.Agent("db1")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	stream, err := conn.NewStream(t.Context(), &agentv1.SystemdService_ServiceDesc.Streams[0],
		agentv1.SystemdService_EnsureUnit_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	under := func() (calls int) {
		a.list.mu.Lock()
		defer a.list.mu.Unlock()
		for _, h := range a.list.held {
			calls += len(h.calls)
		}
		return calls
	}
	for under() == 0 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	a.set(2)
	_ = stream.SendMsg(&agentv1.EnsureUnitRequest{Unit: "a.service"}) // or it has ended
	a.refused("a request after the end", stream.RecvMsg(&agentv1.EnsureUnitResponse{}))
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.kept) != 1 || a.kept[0].Kind != audit.Refused || a.kept[0].Grant != "grant-1" {
		t.Errorf("recorded %+v", a.kept)
	}
}
