package scope

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Around registers services whose methods the guard is asked about: behind the checks of the server
// and before the service.
func (g *Guard) Around(to grpc.ServiceRegistrar) grpc.ServiceRegistrar { return guarded{g, to} }

type guarded struct {
	*Guard
	to grpc.ServiceRegistrar
}

// RegisterService adds a service.
func (g guarded) RegisterService(desc *grpc.ServiceDesc, service any) {
	held := *desc
	held.Methods, held.Streams = slices.Clone(desc.Methods), slices.Clone(desc.Streams)
	for i, m := range held.Methods {
		held.Methods[i].Handler = g.unary("/"+desc.ServiceName+"/"+m.MethodName, m.Handler)
	}
	for i, s := range held.Streams {
		held.Streams[i].Handler = g.stream("/"+desc.ServiceName+"/"+s.StreamName, s.Handler)
	}
	g.to.RegisterService(&held, service)
}

func (g *Guard) unary(method string, handle grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, read func(any) error,
		outer grpc.UnaryServerInterceptor) (any, error) {
		return handle(srv, ctx, read, func(ctx context.Context, req any,
			info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			held := func(ctx context.Context, req any) (any, error) {
				ctx = g.scoped(ctx)
				if err := g.enter(ctx, method, req.(proto.Message)); err != nil {
					return nil, err
				}
				return next(ctx, req)
			}
			if outer == nil {
				return held(ctx, req)
			}
			return outer(ctx, req, info, held)
		})
	}
}

func (g *Guard) stream(method string, handle grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, stream grpc.ServerStream) error {
		return handle(srv, &heldStream{ServerStream: stream, guard: g, method: method})
	}
}

// heldStream asks again before each message that is sent: a scope changes while a stream goes on.
type heldStream struct {
	grpc.ServerStream
	guard  *Guard
	method string
	asked  proto.Message
}

// Context has the scope as it is now.
func (s *heldStream) Context() context.Context { return s.guard.scoped(s.ServerStream.Context()) }

// RecvMsg gives a request that the caller may make.
func (s *heldStream) RecvMsg(msg any) error {
	if err := s.ServerStream.RecvMsg(msg); err != nil {
		return err
	}
	s.asked = msg.(proto.Message)
	return s.guard.enter(s.Context(), s.method, s.asked)
}

// SendMsg sends what the caller may see.
func (s *heldStream) SendMsg(msg any) error {
	if s.asked != nil {
		if err := s.guard.enter(s.Context(), s.method, s.asked); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(msg)
}
