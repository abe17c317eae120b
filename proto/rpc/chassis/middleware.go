package chassis

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/limits"
)

// about is what a middleware knows of a call, unary or a stream.
type about struct {
	method    string
	stream    bool
	request   proto.Message // of a unary call
	setHeader func(metadata.MD) error
}

// handler does the rest of a call.
type handler func(ctx context.Context) error

// middleware surrounds the rest of a call, and is written once for unary calls and streams.
type middleware func(ctx context.Context, call about, next handler) error

// chain runs the handler within all middlewares, the first of them outermost.
func chain(ctx context.Context, all []middleware, call about, last handler) error {
	if len(all) == 0 {
		return last(ctx)
	}
	return all[0](ctx, call, func(ctx context.Context) error {
		return chain(ctx, all[1:], call, last)
	})
}

// interceptors are both halves: the middlewares around each call, and the checks of each request
// before the handler sees it.
func interceptors(around []middleware, check Check, guests *admission) []grpc.ServerOption {
	unary := func(ctx context.Context, req any, info *grpc.UnaryServerInfo,
		handle grpc.UnaryHandler) (resp any, err error) {
		uncompressed(ctx)
		call := about{method: info.FullMethod, request: req.(proto.Message),
			setHeader: func(md metadata.MD) error { return grpc.SetHeader(ctx, md) }}
		err = chain(ctx, around, call, func(ctx context.Context) error {
			if err := check(ctx, req.(proto.Message)); err != nil {
				return err
			}
			resp, err = guests.answering(ctx, req.(proto.Message),
				func() (any, error) { return handle(ctx, req) })
			return err
		})
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
	stream := func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
		handle grpc.StreamHandler) error {
		uncompressed(stream.Context())
		call := about{method: info.FullMethod, stream: true, setHeader: stream.SetHeader}
		return chain(stream.Context(), around, call, func(ctx context.Context) error {
			return handle(srv, &checkedStream{ServerStream: stream, ctx: ctx, check: check,
				guests: guests})
		})
	}
	return []grpc.ServerOption{grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(stream)}
}

// checkedStream has the call's context, checks each message before the handler sees it, and counts
// what is sent.
type checkedStream struct {
	grpc.ServerStream
	ctx    context.Context
	check  Check
	guests *admission
}

// Context is the call's context.
func (s *checkedStream) Context() context.Context { return s.ctx }

// SendMsg sends a message once there is room for it.
func (s *checkedStream) SendMsg(msg any) error {
	r, err := s.guests.reserve(s.ctx, max(proto.Size(msg.(proto.Message)), leastUnread))
	if err != nil {
		return err
	}
	encoded, err := r.encode(msg)
	if err != nil {
		r.free()
		return err
	}
	return s.ServerStream.SendMsg(encoded)
}

// RecvMsg answers with a checked message, or with what is wrong with it. It fails once the call's
// context has ended, which may be before the caller's has: no request of later reaches the handler.
func (s *checkedStream) RecvMsg(msg any) error {
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(msg) }() // ends with the call at the latest
	select {
	case err := <-received:
		if err != nil {
			return err
		}
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return s.check(s.ctx, msg.(proto.Message))
}

// Check refuses a request with an error. It may Annotate the call.
type Check func(ctx context.Context, request proto.Message) error

// checks asks the limits of the proto file first, then more in their order.
func checks(more []Check) Check {
	return func(ctx context.Context, request proto.Message) error {
		if err := limits.Check(request); err != nil {
			return err
		}
		for _, check := range more {
			if err := check(ctx, request); err != nil {
				return err
			}
		}
		return recordBegin(ctx, request)
	}
}
