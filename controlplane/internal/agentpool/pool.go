package agentpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/controlplane/internal/ca"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultPort  = 7443
	defaultProbe = 5 * time.Second
	maxAnswer    = 16 << 20
)

// Addresses knows where the servers' agents are.
type Addresses interface {
	// Address is the address of the server's machine, without a port; empty while it has none.
	// inventory.ErrNotFound.
	Address(ctx context.Context, server string) (string, error)
}

// Config is what a pool needs. Addresses and Source are required.
type Config struct {
	Addresses Addresses
	Source    identity.Source // the control plane's identity
	// Generation is the control plane's, which agents refuse once they saw a higher one; 0 says
	// none.
	Generation int64
	// certificates that are not believed any more; nil denies none
	Revoked func(serial string) bool
	Port    int // of the agents; default 7443
	// how long an agent may take to answer that it is there; default 5 s
	Probe  time.Duration
	Logger *slog.Logger
	// BeforeCall, if set, is called with the name of each call just before it is sent. It may block
	// or end the process: for tests.
	BeforeCall func(method string)
}

// Pool holds one connection to each agent that was asked for. It implements kit.Agents.
type Pool struct {
	cfg Config

	mu     sync.Mutex
	closed bool
	lines  map[string]*line
}

// line is the connection to one agent at one address.
type line struct {
	address string
	conn    *grpc.ClientConn
}

var _ kit.Agents = (*Pool)(nil)

// New makes a pool; it connects to nobody yet.
func New(cfg Config) (*Pool, error) {
	if cfg.Addresses == nil || cfg.Source == nil {
		return nil, errors.New(
			"cannot make the pool of agents: addresses and an identity are needed")
	}
	if cfg.Port == 0 {
		cfg.Port = defaultPort
	}
	if cfg.Probe <= 0 {
		cfg.Probe = defaultProbe
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Pool{cfg: cfg, lines: map[string]*line{}}, nil
}

// Agent returns the server's agent, which proved to be that server's and answered just now.
// errs.Unavailable (AGENT_UNREACHABLE) when it does not, inventory.ErrNotFound for a server without
// a record.
func (p *Pool) Agent(ctx context.Context, server string) (kit.Agent, error) {
	found, err := p.agent(ctx, server)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Announce tells the server's agent the addresses, host:port, at which it renews its certificate
// from now on. Refused as Agent refuses.
func (p *Pool) Announce(ctx context.Context, server string, addresses []string) error {
	found, err := p.agent(ctx, server)
	if err != nil {
		return err
	}
	_, err = call(ctx, found, lookLimit, found.host.SetControlPlane,
		&agentv1.SetControlPlaneRequest{Addresses: addresses})
	return err
}

// Deny tells the server's agent which certificates to refuse. Refused as Agent refuses.
func (p *Pool) Deny(ctx context.Context, server string, list ca.DenyList) error {
	found, err := p.agent(ctx, server)
	if err != nil {
		return err
	}
	req := &agentv1.SetDenyListRequest{Sequence: list.Sequence}
	for serial, expires := range list.Certificates {
		req.Certificates = append(req.Certificates, &agentv1.DeniedCertificate{Serial: serial,
			ExpireTime: timestamppb.New(expires)})
	}
	_, err = call(ctx, found, lookLimit, found.host.SetDenyList, req)
	return err
}

// Grant tells the server's agent which operators may make changing calls on it, and answers with
// the ids of the grants that are in force there. Refused as Agent refuses.
func (p *Pool) Grant(ctx context.Context, server string, list ca.GrantList) ([]string, error) {
	found, err := p.agent(ctx, server)
	if err != nil {
		return nil, err
	}
	req := &agentv1.SetGrantsRequest{Sequence: list.Sequence}
	now := time.Now()
	for _, g := range list.Grants {
		left := g.Left(now)
		if left == 0 {
			continue
		}
		req.Grants = append(req.Grants, &agentv1.Grant{Id: g.ID, Operator: g.Operator,
			KeyPrint: g.KeyPrint, Left: durationpb.New(left),
			ExpireTime: timestamppb.New(g.Expires), Reason: g.Reason})
	}
	resp, err := call(ctx, found, lookLimit, found.host.SetGrants, req)
	return resp.GetInForce(), err
}

func (p *Pool) agent(ctx context.Context, server string) (*agent, error) {
	address, err := p.cfg.Addresses.Address(ctx, server)
	if err != nil {
		return nil, err
	}
	if address == "" {
		return nil, unreachable(server, "its machine has no address yet", nil)
	}
	conn, err := p.line(server, address)
	if err != nil {
		return nil, err
	}
	if err := p.probe(ctx, server, conn); err != nil {
		return nil, err
	}
	return newAgent(server, p.watched(conn)), nil
}

// line is the open connection to the server's agent at the address; one to another address is hung
// up.
func (p *Pool) line(server, address string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errs.New(errs.Canceled, errorsv1.Reason_REASON_CANCELED,
			"the control plane is being stopped",
			errs.WithHint("retry when a control plane runs"))
	}
	if l := p.lines[server]; l != nil {
		if l.address == address {
			return l.conn, nil
		}
		p.cfg.Logger.Info("the agent's address changed", "server", server, "from", l.address, "to",
			address)
		p.hangUp(server)
	}
	conn, err := p.dial(server, net.JoinHostPort(address, strconv.Itoa(p.cfg.Port)))
	if err != nil {
		return nil, err
	}
	p.lines[server] = &line{address: address, conn: conn}
	return conn, nil
}

func (p *Pool) dial(server, address string) (*grpc.ClientConn, error) {
	conn, err := chassis.Dial(chassis.DialConfig{Address: address, MaxMessageBytes: maxAnswer,
		TLS: identity.ClientConfig{Source: p.cfg.Source, Expect: identity.Agent(server),
			Revoked: p.cfg.Revoked},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the agent of %s: %w", server, err)
	}
	return conn, nil
}

// Reach connects to the server's agent at a host, wherever its record says that it is, and answers
// with host and port. Refused as Agent refuses.
func (p *Pool) Reach(ctx context.Context, server, host string) (string, error) {
	address := net.JoinHostPort(host, strconv.Itoa(p.cfg.Port))
	conn, err := p.dial(server, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return address, p.probe(ctx, server, conn)
}

// hangUp ends the server's connection; its calls end as if the agent had gone.
func (p *Pool) hangUp(server string) {
	if l := p.lines[server]; l != nil {
		if err := l.conn.Close(); err != nil {
			p.cfg.Logger.Debug("cannot close a connection", "server", server, "error", err)
		}
		delete(p.lines, server)
	}
}

// Forget hangs up on a server's agent, for one that is gone. The next Agent connects anew.
func (p *Pool) Forget(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangUp(server)
}

// Close hangs up on everybody. Closing twice is fine.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for server := range p.lines {
		p.hangUp(server)
	}
	return nil
}

// probe asks the agent whether it is there. A connection that failed before is tried again at once,
// not after its back-off.
func (p *Pool) probe(ctx context.Context, server string, conn *grpc.ClientConn) error {
	if conn.GetState() == connectivity.TransientFailure {
		conn.ResetConnectBackoff()
	}
	probing, cancel := context.WithTimeout(ctx, p.cfg.Probe)
	defer cancel()
	var shown peer.Peer
	// As a whole the server does not serve while one call hangs, which keeps no other from it.
	answer, err := healthv1.NewHealthClient(conn).Check(probing,
		&healthv1.HealthCheckRequest{Service: healthv1.Health_ServiceDesc.ServiceName},
		grpc.Peer(&shown))
	switch {
	case err == nil && p.revoked(shown):
		p.Forget(server)
		return revoked(server)
	case err == nil && answer.GetStatus() == healthv1.HealthCheckResponse_SERVING:
		return nil
	case err == nil:
		return unreachable(server, "it says that it does not serve", nil)
	case ctx.Err() != nil:
		return ctx.Err()
	case errs.KindOf(err) == errs.DeadlineExceeded:
		return unreachable(server, fmt.Sprintf("no answer within %s", p.cfg.Probe), nil)
	default:
		return lost(ctx, server, err)
	}
}

// revoked is the error of an agent whose certificate is not believed any more.
func revoked(server string) error {
	return errs.New(errs.Unauthenticated, errorsv1.Reason_REASON_CERTIFICATE_REVOKED,
		"the certificate of the agent of "+server+" is revoked",
		errs.WithHint("let it enrol again with a new join file",
			errs.Call("CreateJoinToken", "server", "servers/"+server)))
}

// revoked says whether the certificate that the agent showed is not believed any more: a connection
// outlives its handshake.
func (p *Pool) revoked(shown peer.Peer) bool {
	info, ok := shown.AuthInfo.(credentials.TLSInfo)
	return ok && p.cfg.Revoked != nil && len(info.State.PeerCertificates) > 0 &&
		p.cfg.Revoked(identity.Serial(info.State.PeerCertificates[0]))
}

// unreachable is the error of an agent that does not answer.
func unreachable(server, why string, cause error) error {
	options := []errs.Option{
		errs.Retry(time.Second), errs.Meta("server", server),
		errs.WithHint("see on its host with `systemctl status understudy-agent`, and that port " +
			"7443 can be reached from the control plane"),
	}
	if cause != nil {
		options = append(options, errs.Wrap(cause))
	}
	message := "cannot reach the agent of " + server
	if why != "" {
		message += ": " + why
	}
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE, message, options...)
}

// lost makes the error of a call one of package errs, and one whose connection went away under it
// that of an agent out of reach.
func lost(ctx context.Context, server string, err error) error {
	if err == nil {
		return nil
	}
	err = errs.FromStatus(err)
	hungUp := errs.KindOf(err) == errs.Canceled && ctx.Err() == nil
	if hungUp || errs.KindOf(err) == errs.Unavailable &&
		errs.ReasonOf(err) == errorsv1.Reason_REASON_UNREACHABLE {
		return unreachable(server, "", err)
	}
	return err
}
