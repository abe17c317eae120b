package agentpool

import (
	"context"
	"path"

	"google.golang.org/grpc"
)

// watched is a connection that tells of each call before it is sent.
type watched struct {
	grpc.ClientConnInterface
	before func(method string)
}

func (p *Pool) watched(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	if p.cfg.BeforeCall == nil {
		return conn
	}
	return watched{ClientConnInterface: conn, before: p.cfg.BeforeCall}
}

// Invoke makes a unary call.
func (w watched) Invoke(ctx context.Context, method string, args, reply any,
	opts ...grpc.CallOption) error {
	w.before(path.Base(method))
	return w.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// NewStream begins a streaming call.
func (w watched) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string,
	opts ...grpc.CallOption) (grpc.ClientStream, error) {
	w.before(path.Base(method))
	return w.ClientConnInterface.NewStream(ctx, desc, method, opts...)
}
