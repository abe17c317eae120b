package chassis

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Check refuses a request with an error. It may Annotate the call.
type Check func(ctx context.Context, request proto.Message) error

// checks is what a request has to pass before its handler: limits, its own validator, the checks
// of the server.
type checks struct {
	limits     Limits
	validators map[string]Validator
	more       []Check
}

func newChecks(config Config) *checks {
	return &checks{limits: config.Limits, validators: config.Validators, more: config.Checks}
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
	for _, check := range c.more {
		if err := check(ctx, msg); err != nil {
			return err
		}
	}
	return nil
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
