package agentpool

import (
	"context"
	"path"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// watched is a connection that tells of each call before it is sent, and says in each which control
// plane makes it.
type watched struct {
	grpc.ClientConnInterface
	before     func(method string)
	generation int64
}

func (p *Pool) watched(conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return watched{ClientConnInterface: conn, before: p.cfg.BeforeCall,
		generation: p.cfg.Generation}
}

func (w watched) call(ctx context.Context, method string) context.Context {
	if w.before != nil {
		w.before(path.Base(method))
	}
	if w.generation == 0 {
		return ctx
	}
	return identity.WithGeneration(ctx, w.generation)
}

// Invoke makes a unary call.
func (w watched) Invoke(ctx context.Context, method string, args, reply any,
	opts ...grpc.CallOption) error {
	return w.ClientConnInterface.Invoke(w.call(ctx, method), method, args, reply, opts...)
}

// NewStream begins a streaming call.
func (w watched) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string,
	opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return w.ClientConnInterface.NewStream(w.call(ctx, method), desc, method, opts...)
}
