package agentpool

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// follow opens a stream with an end of its own and gives each of its messages to take, until the
// stream ends.
func follow[Req, Resp any](ctx context.Context, a *agent, limit time.Duration,
	open func(context.Context, Req, ...grpc.CallOption) (grpc.ServerStreamingClient[Resp], error),
	req Req, take func(*Resp),
) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stream, err := open(bounded, req)
	if err != nil {
		return lost(ctx, a.server, err)
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return lost(ctx, a.server, err)
		}
		take(message)
	}
}

// cutShort is the error of a stream that ended in order, but without its last message.
func cutShort(server, what string) error {
	return errs.New(errs.Unavailable, errorsv1.Reason_REASON_AGENT_UNREACHABLE,
		"the agent of "+server+" ended "+what+" without its result", errs.Retry(time.Second),
		errs.Meta("server", server),
		errs.WithHint("retry; if it fails again, read the log on the host (journalctl -u "+
			"understudy-agent)"))
}

// tell passes a line of progress on, if anybody listens and there is one.
func tell(progress kit.Progress, line string) {
	if progress != nil && line != "" {
		progress(line)
	}
}
