// Package chassis is a gRPC server, and a client, with all that every one of ours has: mutual TLS,
// access rules, request ids, one log line a call, errors with reasons, hygiene of requests,
// deadlines, health, reflection and an orderly end.
package chassis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	defaultDeadline   = time.Minute
	defaultGrace      = 15 * time.Second
	defaultConnAge    = 30 * time.Minute
	defaultMaxRequest = 512 << 10
	keepaliveTime     = 20 * time.Second
	keepaliveTimeout  = 10 * time.Second
	keepaliveMinTime  = 5 * time.Second
	mostIdle          = 5 * time.Minute
	cutEvery          = time.Second / 2 // what was open ends within two of them
	handshakeTimeout  = 15 * time.Second
	streamWindow      = 64 << 10 // what a caller may send before it is read; requests are small
	connWindow        = 256 << 10
	defaultHangsAfter = 2 * time.Minute
)

// DeadAfter is the longest time until a connection on which nothing comes back is given up: its
// calls end with UNAVAILABLE then.
const DeadAfter = keepaliveTime + keepaliveTimeout

// Config is what a server needs. Listener (or Address), TLS or LocalUsers, and Rules have no
// default.
type Config struct {
	// Address is where to listen, host:port; used when Listener is nil.
	Address string
	// Listener is where to accept; the server closes it.
	Listener net.Listener
	// TLS says who the server is and whom it lets in. Its Revoked is asked again on every call.
	TLS identity.ServerConfig
	// LocalUsers are in place of TLS, for a listener on a unix socket: the users of this machine
	// who may call over it, in the role of break-glass, with each call in the log.
	LocalUsers []uint32
	// Rules says who may call what, for every method that is registered and no other; health and
	// reflection are added.
	Rules authz.Table
	// Audit records each call that changes something, allowed or refused, and keeps it from running
	// when it cannot; nil records nothing.
	Audit *audit.Log
	// Admit is asked about each call that the rules allow; nil admits them all.
	Admit Admit
	// Checks are asked in their order about each request that is within its limits.
	Checks []Check
	// Deadline is that of unary calls that come without one; a minute when 0.
	Deadline time.Duration
	// Deadlines are the exceptions from Deadline, by full method.
	Deadlines map[string]time.Duration
	// HangsAfter is how long a handler may go on once its call is over, until health says so; two
	// minutes when 0.
	HangsAfter time.Duration
	// Room is what callers may hold at a time.
	Room Room
	// MaxMessageBytes bounds a request; 512 KiB when 0.
	MaxMessageBytes int
	// MaxConnectionAge is how long a connection goes on with the certificates that it began with;
	// 30 minutes when 0.
	MaxConnectionAge time.Duration
	// Grace is how long calls under way may go on once the server stops; 15 s when 0.
	Grace time.Duration
	// Logger gets one line a call; the default logger when nil.
	Logger *slog.Logger
	// Metrics gets counts and durations of calls; none when nil.
	Metrics prometheus.Registerer
}

// Server is a gRPC server. Register services, then Run.
type Server struct {
	config   Config
	grpc     *grpc.Server
	health   *health.Server
	rules    authz.Table
	draining chan struct{}
	guests   *admission
	hangs    *hangs
}

// New makes a server that listens to nobody yet.
func New(config Config) (*Server, error) {
	config.fillDefaults()
	if config.Listener == nil && config.Address == "" {
		return nil, errors.New("cannot make server: no address")
	}
	secured, err := config.credentials()
	if err != nil {
		return nil, fmt.Errorf("cannot make server: %w", err)
	}
	rules, err := authz.Merge(authz.Infrastructure(), config.Rules)
	if err != nil {
		return nil, fmt.Errorf("cannot make server: %w", err)
	}
	s := &Server{config: config, rules: rules, health: health.NewServer(),
		draining: make(chan struct{}), guests: newAdmission(config.Room)}
	s.hangs = newHangs(config, s.SetServing)
	strangers := newSparing(config.Logger)
	edge, err := newEdge(config, s.draining, strangers)
	if err != nil {
		return nil, fmt.Errorf("cannot make server: %w", err)
	}
	options := append(transport(config),
		grpc.InTapHandle(counting(config.Audit, s.guests.enter)),
		grpc.Creds(loggingCredentials{secured, config.Logger, strangers}))
	s.grpc = grpc.NewServer(append(options,
		interceptors(s.middlewares(edge, authz.NewGuard(rules, config.TLS.Revoked)),
			checks(config.Checks), s.guests)...)...)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s, nil
}

func (c *Config) fillDefaults() {
	c.Deadline = orDefault(c.Deadline, defaultDeadline)
	c.Grace = orDefault(c.Grace, defaultGrace)
	c.HangsAfter = orDefault(c.HangsAfter, defaultHangsAfter)
	c.MaxConnectionAge = orDefault(c.MaxConnectionAge, defaultConnAge)
	c.MaxMessageBytes = orDefault(c.MaxMessageBytes, defaultMaxRequest)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// credentials are those of the socket, or TLS.
func (c *Config) credentials() (credentials.TransportCredentials, error) {
	if len(c.LocalUsers) > 0 {
		return identity.Local(c.LocalUsers...), nil
	}
	tlsConfig, err := identity.ServerTLS(c.TLS)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(tlsConfig), nil
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func transport(config Config) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newEncoded()),
		grpc.MaxRecvMsgSize(config.MaxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		// gRPC would give a caller up to 16 MiB for each stream, also for what nobody reads.
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.StatsHandler(otelgrpc.NewServerHandler()),
		// Run returns only when no handler is left: what a handler must undo, it has undone.
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// A connection keeps the certificates that it began with, so it has to end some time.
			MaxConnectionAge:      config.MaxConnectionAge,
			MaxConnectionAgeGrace: config.MaxConnectionAge,
			MaxConnectionIdle:     mostIdle,
			Time:                  keepaliveTime, Timeout: keepaliveTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime,
			PermitWithoutStream: true}),
	}
}

// middlewares in the order in which a call meets them; nothing looks into a request before its
// caller is known.
func (s *Server) middlewares(edge *edge, guard *authz.Guard) []middleware {
	limit := deadlines{fallback: s.config.Deadline, methods: s.config.Deadlines}
	allowed := func(ctx context.Context, call about, next handler) error {
		if err := guard.Check(identity.PeerOf(ctx), call.method); err != nil {
			return err
		}
		return s.config.Admit.around(ctx, call, next)
	}
	return []middleware{edge.around, keepPlace, recovering, recorded(s.config.Audit), recovering,
		allowed, limit.around, s.hangs.around}
}

// RegisterService adds a service; it must be called before Run.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

// SetServing says in the health service whether that service works; "" is the server as a whole.
// All serve when Run begins.
func (s *Server) SetServing(service string, serving bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, state)
}

// Run serves until ctx ends, then lets the calls under way end within the grace, and returns when
// no handler is left. It fails at once when a registered method has no access rule. A server runs
// once.
func (s *Server) Run(ctx context.Context) error {
	if err := authz.Complete(s.rules, authz.MethodsServed(s.grpc)); err != nil {
		return fmt.Errorf("cannot serve: %w", err)
	}
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	for service := range s.grpc.GetServiceInfo() {
		s.SetServing(service, true)
	}
	s.SetServing("", true)
	stopped := make(chan struct{})
	serving, served := context.WithCancel(ctx)
	go func() {
		defer close(stopped)
		<-serving.Done()
		s.stop()
	}()
	go s.cutRevoked(serving)
	s.config.Logger.Info("serving", "address", listener.Addr().String())
	err = s.grpc.Serve(listener)
	served()
	<-stopped
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("cannot serve: %w", err)
	}
	return nil
}

// cutRevoked ends what was open when its certificate was revoked.
func (s *Server) cutRevoked(ctx context.Context) {
	if s.config.TLS.Revoked == nil {
		return
	}
	tick := time.NewTicker(cutEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, who := range s.guests.cut(s.config.TLS.Revoked) {
			s.config.Logger.Warn("ended a connection with a revoked certificate", "peer", who)
		}
	}
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	listener := s.config.Listener
	if listener == nil {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.config.Address); err != nil {
			return nil, fmt.Errorf("cannot serve: %w", err)
		}
	}
	return doors{Lasting(listener, s.config.Logger), s.guests, s.config.Logger}, nil
}

// stop ends the server: health says so first, calls get the grace, what is left is cut off.
func (s *Server) stop() {
	s.health.Shutdown()
	close(s.draining)
	cut := time.AfterFunc(s.config.Grace, s.grpc.Stop)
	defer cut.Stop()
	s.grpc.GracefulStop()
}
