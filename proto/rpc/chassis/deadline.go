package chassis

import (
	"context"
	"time"
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

func (d deadlines) around(ctx context.Context, call about, next handler) error {
	if call.stream {
		return next(ctx)
	}
	ctx, cancel := d.of(ctx, call.method)
	defer cancel()
	return next(ctx)
}
