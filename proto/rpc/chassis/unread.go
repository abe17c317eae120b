package chassis

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// leastUnread is what an answer counts at least: gRPC keeps its call until it is sent.
	leastUnread = 4 << 10
	// leastCounted is the size of a buffer from which on gRPC says when it has sent it.
	leastCounted = 2 << 10
)

// answer is a message to a caller. It counts as unread from when it is encoded until gRPC has sent
// it, or has given it up: its call has ended by then, and given its place back.
type answer struct {
	proto.Message
	a   *admission
	who caller
}

// answer refuses a message when so much waits for the caller already. A small one is always given:
// what was changed is said.
func (a *admission) answer(ctx context.Context, msg any) (any, error) {
	answered, ok := msg.(proto.Message)
	from := identity.PeerOf(ctx)
	if !ok || from.Identity.Role == identity.RoleControlPlane {
		return msg, nil
	}
	who, room := a.roomOf(from)
	if size := proto.Size(answered); size > leastUnread {
		a.mu.Lock()
		defer a.mu.Unlock()
		if err := a.mayWait(who, room, size); err != nil {
			return nil, err
		}
	}
	return &answer{Message: answered, a: a, who: who}, nil
}

// mayWait is called with the mutex held.
func (a *admission) mayWait(who caller, room callerRoom, size int) error {
	if a.unread[who]+size <= room.unread {
		return nil
	}
	return errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_UNSPECIFIED,
		fmt.Sprintf("%s does not read its answers: %d KiB of them wait", who.who,
			a.unread[who]>>10),
		errs.WithHint("read the answers or end their calls, then retry; ask for smaller pages"))
}

// weighing is the codec of a server, which notes what waits to be sent to whom.
type weighing struct{ encoding.CodecV2 }

func newWeighing() weighing { return weighing{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c weighing) Marshal(v any) (mem.BufferSlice, error) {
	to, ok := v.(*answer)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	size := proto.Size(to.Message)
	data, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, max(size, leastCounted)),
		to.Message)
	if err != nil {
		return nil, fmt.Errorf("cannot encode an answer: %w", err)
	}
	return mem.BufferSlice{mem.NewBuffer(&data, to.a.wait(to.who, &data))}, nil
}

// wait counts an answer as unread.
func (a *admission) wait(who caller, data *[]byte) *unread {
	u := &unread{a: a, who: who, size: max(len(*data), leastUnread)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unread[who] += u.size
	// gRPC forgets to give back what waits when a connection ends.
	u.forgotten = runtime.AddCleanup(data, (*unread).sent, u)
	return u
}

// unread is an answer that waits. For gRPC it is the pool to which the buffer goes back.
type unread struct {
	a         *admission
	who       caller
	size      int
	once      sync.Once
	forgotten runtime.Cleanup
}

func (u *unread) sent() {
	u.once.Do(func() {
		u.a.mu.Lock()
		defer u.a.mu.Unlock()
		if u.a.unread[u.who] -= u.size; u.a.unread[u.who] <= 0 {
			delete(u.a.unread, u.who)
		}
	})
}

// Get implements mem.BufferPool.
func (u *unread) Get(length int) *[]byte {
	data := make([]byte, length)
	return &data
}

// Put implements mem.BufferPool.
func (u *unread) Put(*[]byte) {
	u.forgotten.Stop()
	u.sent()
}

// uncompressed has answers sent as they are, whatever the caller speaks: what gRPC compresses, it
// does not say when it has sent.
func uncompressed(ctx context.Context) {
	// The only error is that headers were sent, which cannot be here.
	_ = grpc.SetSendCompressor(ctx, encoding.Identity)
}
