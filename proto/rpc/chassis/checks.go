package chassis

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// checks is all that a request has to pass before its handler: hygiene, its own validator, the
// fence of its job.
type checks struct {
	limits     Limits
	validators map[string]Validator
	fences     *Fences
}

func newChecks(config Config) *checks {
	return &checks{limits: config.Limits, validators: config.Validators, fences: config.Fences}
}

func (c *checks) check(ctx context.Context, method string, req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	if err := c.limits.Check(msg); err != nil {
		return err
	}
	if validate := c.validators[method]; validate != nil {
		if err := validate(msg); err != nil {
			return err
		}
	}
	return c.checkFence(ctx, msg)
}

func (c *checks) checkFence(ctx context.Context, msg proto.Message) error {
	fence, err := readFence(msg)
	if err != nil || fence.empty() {
		return err
	}
	if under := callOf(ctx); under != nil {
		under.job, under.step = fence.job, fence.effectKey
	}
	if c.fences == nil {
		return nil
	}
	return c.fences.Admit(fence.job, fence.epoch)
}

func (c *checks) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo,
	handler grpc.UnaryHandler) (any, error) {
	if err := c.check(ctx, info.FullMethod, req); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (c *checks) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo,
	handler grpc.StreamHandler) error {
	return handler(srv, &checkedStream{ServerStream: stream, check: func(msg any) error {
		return c.check(stream.Context(), info.FullMethod, msg)
	}})
}
