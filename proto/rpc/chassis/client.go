package chassis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultCallDeadline = 30 * time.Second
	// connectTimeout lets a connection come about on a network where an answer takes seconds: TCP,
	// TLS and HTTP/2 take three of them, and finding the neighbour another.
	connectTimeout    = 15 * time.Second
	maxReconnectDelay = 2 * time.Second
	connectionBuffer  = 4 << 10
	defaultMaxAnswer  = 4 << 20
	// wayToReach covers a refused handshake too: often nothing but a cut connection tells of it
	// here.
	wayToReach = "see that it runs there and that its port can be reached from here; when its " +
		"log says that it refused the connection, " +
		"compare the certificates of both sides: CA, identity, validity and clocks, revocation"
	wayToSocket = "see that it runs on this machine, and call as root or as the user that it " +
		"runs as"
)

// DialConfig is what a client needs. Address and TLS have no default.
type DialConfig struct {
	// Address is the server's host:port.
	Address string
	// TLS says who the client is and exactly which server it talks to.
	TLS identity.ClientConfig
	// Deadline is that of unary calls made without one; 30 s when 0.
	Deadline time.Duration
	// MaxMessageBytes bounds an answer; 4 MiB when 0.
	MaxMessageBytes int
}

// Dial makes a connection that connects by itself when it is first used, and again whenever it is
// lost. Errors of its calls are errors of package errs, of which one without an answer says whom it
// could not reach.
func Dial(config DialConfig) (*grpc.ClientConn, error) {
	tlsConfig, err := identity.ClientTLS(config.TLS)
	if err != nil {
		return nil, fmt.Errorf("cannot dial %s: %w", config.Address, err)
	}
	return dial("passthrough:///"+config.Address, credentials.NewTLS(tlsConfig), config)
}

func dial(target string, secured credentials.TransportCredentials,
	config DialConfig) (*grpc.ClientConn, error) {
	config.Deadline = orDefault(config.Deadline, defaultCallDeadline)
	config.MaxMessageBytes = orDefault(config.MaxMessageBytes, defaultMaxAnswer)
	caller := client{config}
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(withoutCrumbsTo{secured}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: keepaliveTime, Timeout: keepaliveTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectTimeout,
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2,
				MaxDelay: maxReconnectDelay}}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(config.MaxMessageBytes)),
		// A control plane keeps a connection to each of thousands of agents.
		grpc.WithReadBufferSize(connectionBuffer),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		// Hosts are reached directly, whatever the environment says about proxies.
		grpc.WithNoProxy(),
		grpc.WithUnaryInterceptor(caller.unary), grpc.WithStreamInterceptor(caller.stream))
	if err != nil {
		return nil, fmt.Errorf("cannot dial %s: %w", config.Address, err)
	}
	return conn, nil
}

// DialLocal makes a connection to a server of this machine over its unix socket, as Dial does. The
// server learns from the kernel who calls.
func DialLocal(path string, deadline time.Duration) (*grpc.ClientConn, error) {
	return dial("unix:"+path, insecure.NewCredentials(), DialConfig{Address: path,
		Deadline: deadline, TLS: identity.ClientConfig{Expect: identity.ControlPlane()}})
}

type client struct{ config DialConfig }

func (c client) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	ctx, cancel := deadlines{fallback: c.config.Deadline}.of(ctx, method)
	defer cancel()
	return c.explain(invoke(outgoing(ctx), method, req, reply, conn, options...))
}

func (c client) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn,
	method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(outgoing(ctx), desc, conn, method, options...)
	if err != nil {
		return nil, c.explain(err)
	}
	return &clientStream{ClientStream: stream, explain: c.explain}, nil
}

// outgoing passes on the request id of the call that this one is made for, or a new one.
func outgoing(ctx context.Context) context.Context {
	id := RequestID(ctx)
	if id == "" {
		id = uuid.NewString()
	}
	return metadata.AppendToOutgoingContext(ctx, requestIDHeader, id)
}

// explain makes an error of a call one of package errs; when the server did not answer, it says
// which server.
func (c client) explain(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	err = errs.FromStatus(err)
	if errs.KindOf(err) != errs.Unavailable ||
		errs.ReasonOf(err) != errorsv1.Reason_REASON_UNREACHABLE {
		return err
	}
	reason := errorsv1.Reason_REASON_UNREACHABLE
	options := []errs.Option{errs.Wrap(err), errs.Retry(time.Second),
		errs.Meta("address", c.config.Address), errs.WithHint(c.config.wayToReach())}
	if expect := c.config.TLS.Expect; expect.Role == identity.RoleAgent {
		reason = errorsv1.Reason_REASON_AGENT_UNREACHABLE
		options = append(options, errs.Meta("server", expect.Name))
	}
	return errs.New(errs.Unavailable, reason,
		fmt.Sprintf("cannot reach %s at %s", c.config.TLS.Expect, c.config.Address), options...)
}

// wayToReach is what helps when the server did not answer.
func (c DialConfig) wayToReach() string {
	if c.TLS.Source == nil {
		return wayToSocket
	}
	return wayToReach
}

// clientStream explains errors like unary calls do.
type clientStream struct {
	grpc.ClientStream
	explain func(error) error
}

// Header is the server's header.
func (s *clientStream) Header() (metadata.MD, error) {
	header, err := s.ClientStream.Header()
	return header, s.explain(err)
}

// CloseSend ends the sending side.
func (s *clientStream) CloseSend() error { return s.explain(s.ClientStream.CloseSend()) }

// SendMsg sends one message.
func (s *clientStream) SendMsg(msg any) error { return s.explain(s.ClientStream.SendMsg(msg)) }

// RecvMsg receives one message; io.EOF is the stream's good end.
func (s *clientStream) RecvMsg(msg any) error { return s.explain(s.ClientStream.RecvMsg(msg)) }
