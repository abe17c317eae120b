package agentpool

import (
	"context"
	"path"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// watched is a connection that tells of each call before it is sent, says in each which control
// plane makes it, and bounds what is answered.
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
	err := w.ClientConnInterface.Invoke(w.call(ctx, method), method, args, reply, opts...)
	if err == nil {
		err = bound(reply.(proto.Message).ProtoReflect(), 0)
	}
	return err
}

// NewStream begins a streaming call.
func (w watched) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string,
	opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := w.ClientConnInterface.NewStream(w.call(ctx, method), desc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &bounded{ClientStream: stream, method: method, began: time.Now()}, nil
}
