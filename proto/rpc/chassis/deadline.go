package chassis

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// deadlines gives unary calls an end when their caller did not; a stream may go on, its handler
// knows how long.
type deadlines struct {
	fallback time.Duration
	methods  map[string]time.Duration
}

func (d deadlines) of(ctx context.Context, method string) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	if own, ok := d.methods[method]; ok {
		return context.WithTimeout(ctx, own)
	}
	return context.WithTimeout(ctx, d.fallback)
}

func (d deadlines) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo,
	handler grpc.UnaryHandler) (any, error) {
	ctx, cancel := d.of(ctx, info.FullMethod)
	defer cancel()
	return handler(ctx, req)
}
