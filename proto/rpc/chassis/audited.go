package chassis

import (
	"context"

	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// recording is a changing call on its way through the server. One goroutine reads the requests of
// a stream.
type recording struct {
	log   *audit.Log
	call  audit.Call
	begun bool
	seq   int64
	err   error // why it could not be recorded
}

type recordingKey struct{}

// recorded has the outcome of each changing call recorded, and refusals of those that did not run.
func recorded(log *audit.Log) middleware {
	return func(ctx context.Context, call about, next handler) error {
		if log == nil || !authz.Changes(call.method) {
			return next(ctx)
		}
		r := &recording{log: log, call: audit.Call{Peer: identity.PeerOf(ctx), Method: call.method,
			RequestID: RequestID(ctx), Request: call.request}}
		err := next(context.WithValue(ctx, recordingKey{}, r))
		switch {
		case r.begun:
			log.End(ctx, r.call, r.seq, err)
		case r.err == nil:
			log.Refused(ctx, r.call, err)
		}
		return err
	}
}

// recordBegin records that the call's request is about to reach its handler. Of a caller without a
// certificate it does not yet, who is any stranger: see Intend.
func recordBegin(ctx context.Context, request proto.Message) error {
	r, ok := ctx.Value(recordingKey{}).(*recording)
	if !ok {
		return nil
	}
	if !r.begun {
		r.call.Request = request
	}
	if r.call.Peer.Identity.Role == identity.RoleAnonymous {
		return nil
	}
	return r.begin(ctx)
}

// Intend records that the call which ctx belongs to is about to change something. A handler that
// serves callers without a certificate calls it once they have proved themselves in another way,
// and changes nothing before; calls of others are recorded already.
func Intend(ctx context.Context) error {
	if r, ok := ctx.Value(recordingKey{}).(*recording); ok {
		return r.begin(ctx)
	}
	return nil
}

func (r *recording) begin(ctx context.Context) error {
	if r.begun || r.err != nil {
		return r.err
	}
	r.seq, r.err = r.log.Begin(ctx, r.call)
	r.begun = r.err == nil
	return r.err
}

// counting counts in the audit the changing calls that there is no room for: they are refused where
// nothing may be waited for.
func counting(log *audit.Log, enter tap.ServerInHandle) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		entered, err := enter(ctx, info)
		if err != nil && log != nil && authz.Changes(info.FullMethodName) {
			log.LeaveOut(identity.PeerOf(ctx).Identity)
		}
		return entered, err
	}
}
