package chassis

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	// leastUnread is what an answer counts at least: gRPC keeps its call until it is sent.
	leastUnread = 4 << 10
	// usualAnswer is what an answer counts that is not made yet.
	usualAnswer = 64 << 10
	// ofAPage is what each row counts of a list that is not made yet.
	ofAPage     = 4 << 10
	usualPage   = 50
	mostOfAPage = 2 << 20
	// leastCounted is the size of a buffer from which on gRPC says when it has sent it.
	leastCounted = 2 << 10
)

// unread is the room of a caller's answers, from before they are made until they are sent.
type unread struct {
	*semaphore.Weighted
	users int // guarded by the admission's mutex
}

// reserve waits for room for an answer of so many bytes, until free is called on it or gRPC has
// sent, or given up, what was encoded in it.
func (a *admission) reserve(ctx context.Context, size int) (*reserved, error) {
	from := identity.PeerOf(ctx)
	if from.Identity.Role == identity.RoleControlPlane {
		return &reserved{}, nil
	}
	who, room := a.roomOf(from)
	r := &reserved{a: a, who: who, size: int64(min(size, room.unread))}
	a.mu.Lock()
	r.of = a.unread[who]
	if r.of == nil {
		r.of = &unread{Weighted: semaphore.NewWeighted(int64(room.unread))}
		a.unread[who] = r.of
	}
	r.of.users++
	a.mu.Unlock()
	if err := r.of.Acquire(ctx, r.size); err != nil {
		r.size = 0
		r.free()
		return nil, context.Cause(ctx)
	}
	return r, nil
}

// reserved is room for an answer. Of a caller without bounds it is empty.
type reserved struct {
	a         *admission
	who       caller
	of        *unread
	size      int64
	once      sync.Once
	forgotten runtime.Cleanup
}

func (r *reserved) free() {
	if r.of == nil {
		return
	}
	r.once.Do(func() {
		r.of.Release(r.size)
		r.a.mu.Lock()
		defer r.a.mu.Unlock()
		if r.of.users--; r.of.users == 0 {
			delete(r.a.unread, r.who)
		}
	})
}

// fit makes the room as large as the answer, where there is so much.
func (r *reserved) fit(size int) {
	more := int64(max(size, leastUnread)) - r.size
	switch {
	case more < 0:
		r.of.Release(-more)
	case more > 0 && !r.of.TryAcquire(more):
		return
	}
	r.size += more
}

// answer is a message that is encoded.
type answer struct{ mem.BufferSlice }

// encode gives what to send in place of a message.
func (r *reserved) encode(msg any) (any, error) {
	answered, ok := msg.(proto.Message)
	if r.of == nil || !ok {
		return msg, nil
	}
	size := proto.Size(answered)
	data, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, max(size, leastCounted)),
		answered)
	if err != nil {
		return nil, fmt.Errorf("cannot encode an answer: %w", err)
	}
	r.fit(size)
	// gRPC forgets to give back what waits when a connection ends.
	r.forgotten = runtime.AddCleanup(&data, (*reserved).free, r)
	return &answer{mem.BufferSlice{mem.NewBuffer(&data, r)}}, nil
}

// Get implements mem.BufferPool.
func (r *reserved) Get(length int) *[]byte {
	data := make([]byte, length)
	return &data
}

// Put implements mem.BufferPool; gRPC needs the answer no longer.
func (r *reserved) Put(*[]byte) {
	r.forgotten.Stop()
	r.free()
}

// encoded is the codec of a server, some of whose messages are.
type encoded struct{ encoding.CodecV2 }

func newEncoded() encoded { return encoded{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c encoded) Marshal(v any) (mem.BufferSlice, error) {
	if a, ok := v.(*answer); ok {
		return a.BufferSlice, nil
	}
	return c.CodecV2.Marshal(v)
}

// uncompressed has answers sent as they are, whatever the caller speaks: what gRPC compresses, it
// does not say when it has sent.
func uncompressed(ctx context.Context) {
	// The only error is that headers were sent, which cannot be here.
	_ = grpc.SetSendCompressor(ctx, encoding.Identity)
}

// answering makes the answer to a request once there is room for it. A caller that does not read
// those that it has is refused after a while.
func (a *admission) answering(ctx context.Context, request proto.Message,
	handle func() (any, error)) (any, error) {
	waits, end := context.WithTimeout(ctx, a.room.UnreadWait)
	r, err := a.reserve(waits, expected(request.ProtoReflect()))
	end()
	switch {
	case err != nil && ctx.Err() == nil:
		return nil, errs.New(errs.ResourceExhausted, errorsv1.Reason_REASON_UNSPECIFIED,
			fmt.Sprintf("%s does not read the answers that it has", identity.PeerOf(ctx).Identity),
			errs.WithHint("read them or end their calls, then retry"))
	case err != nil:
		return nil, err
	}
	var sent any
	defer func() {
		if sent == nil {
			r.free()
		}
	}()
	msg, err := handle()
	if err == nil {
		sent, err = r.encode(msg)
	}
	return sent, err
}

// expected is how large the answer to a request may be.
func expected(request protoreflect.Message) int {
	field := request.Descriptor().Fields().ByName("page_size")
	if field == nil || field.Kind() != protoreflect.Int32Kind {
		return usualAnswer
	}
	rows := request.Get(field).Int()
	if rows == 0 {
		rows = usualPage
	}
	return max(usualAnswer, int(min(rows*ofAPage, mostOfAPage)))
}
