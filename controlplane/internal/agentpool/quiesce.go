package agentpool

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/proto/consistentpoint"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const (
	defaultHold     = 10 * time.Second
	defaultLockWait = 2 * time.Second
	// lockStages are the stages that each may wait for locks before the point is reached.
	lockStages = 5
	// offlineSlack is what a clean stop and a start of MariaDB may take beside the hold itself.
	offlineSlack = 15 * time.Minute
	// resumeLimit is what a start of MariaDB may take on the host, and more.
	resumeLimit = 6 * time.Minute
)

type quiesceStream = grpc.BidiStreamingClient[agentv1.QuiesceRequest, agentv1.QuiesceResponse]

// hold is an open hold: a stream, and a reader that waits for its end.
type hold struct {
	server string
	stream quiesceStream
	cancel context.CancelFunc
	token  *agentv1.FencingToken
	point  consistentpoint.Point
	left   time.Duration // of the limit, when the point came

	done   chan struct{} // closed when the stream has ended; what is below is settled then
	result *agentv1.QuiesceResult
	err    error

	send     sync.Mutex
	released bool
}

// Quiesce blocks commits, freezes the filesystem and returns once the point is reached. The hold
// lives as long as ctx does.
func (a *agent) Quiesce(ctx context.Context, req kit.Quiesce,
	progress kit.Progress) (kit.Quiesced, error) {
	return a.openHold(ctx, holdBound(req), &agentv1.QuiesceRequest{
		Action:       &agentv1.QuiesceRequest_Start_{Start: quiesceStart(req)},
		FencingToken: fencingToken(req.Token),
	}, func(h *hold) error { return h.awaitPoint(ctx, progress) })
}

// Adopt goes on with a quiesce whose stream was lost.
func (a *agent) Adopt(ctx context.Context, req kit.Adopt) (kit.Quiesced, error) {
	bound := holdBound(kit.Quiesce{Mode: inventory.ModeOffline, Limit: req.Limit})
	return a.openHold(ctx, bound, &agentv1.QuiesceRequest{
		Action: &agentv1.QuiesceRequest_Adopt_{
			Adopt: &agentv1.QuiesceRequest_Adopt{Nonce: req.Nonce}},
		FencingToken: fencingToken(req.Token),
	}, func(h *hold) error {
		// The hold goes on without this call, which is made again.
		defer time.AfterFunc(lookLimit, h.cancel).Stop()
		return h.awaitPoint(ctx, nil)
	})
}

// EndQuiesce lets a server go on that the job holds; nil when it holds none.
func (a *agent) EndQuiesce(ctx context.Context,
	token kit.FencingToken) (*kit.QuiesceResult, error) {
	resp, err := call(ctx, a, resumeLimit, a.mariadb.EndQuiesce,
		&agentv1.EndQuiesceRequest{FencingToken: fencingToken(token)})
	if err != nil || resp.GetResult() == nil {
		return nil, err
	}
	result := holdResult(resp.GetResult())
	return &result, nil
}

// openHold opens a stream, and reads it to its end once the point is there.
func (a *agent) openHold(ctx context.Context, bound time.Duration, first *agentv1.QuiesceRequest,
	await func(*hold) error) (kit.Quiesced, error) {
	held, cancel := context.WithTimeout(ctx, bound)
	stream, err := a.mariadb.Quiesce(held)
	if err == nil {
		err = stream.Send(first)
		if errors.Is(err, io.EOF) { // the stream ended already; Recv says why
			err = nil
		}
	}
	if err != nil {
		cancel()
		return nil, lost(ctx, a.server, err)
	}
	h := &hold{server: a.server, stream: stream, cancel: cancel, token: first.GetFencingToken(),
		done: make(chan struct{})}
	if err := await(h); err != nil {
		cancel()
		return nil, err
	}
	if h.result != nil { // it had ended before it was adopted
		cancel()
		close(h.done)
		return h, nil
	}
	go h.read(ctx)
	return h, nil
}

// holdBound is when a hold is over for certain: the host ends it long before.
func holdBound(req kit.Quiesce) time.Duration {
	bound := orDefault(req.Limit, defaultHold) + lockStages*orDefault(req.LockWait,
		defaultLockWait) + changeLimit
	if req.Mode == inventory.ModeOffline {
		bound += offlineSlack
	}
	return bound
}

// awaitPoint reads until the point is reached.
func (h *hold) awaitPoint(ctx context.Context, progress kit.Progress) error {
	for {
		m, err := h.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return cutShort(h.server, "Quiesce")
		case err != nil:
			return lost(ctx, h.server, err)
		case m.GetPoint() != nil:
			h.point, h.left = consistentPoint(m.GetPoint()), m.GetLeft().AsDuration()
			h.result = m.GetResult()
			return nil
		case m.GetResult() != nil:
			return broken(h.server, m.GetResult().GetBrokenReason())
		}
		tell(progress, m.GetProgress())
	}
}

// read waits for the hold's end.
func (h *hold) read(ctx context.Context) {
	defer close(h.done)
	defer h.cancel()
	for {
		m, err := h.stream.Recv()
		if m.GetResult() != nil {
			h.result = m.GetResult()
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			h.err = lost(ctx, h.server, err)
			return
		}
	}
}

// Point is what was true when the point was reached.
func (h *hold) Point() consistentpoint.Point { return h.point }

// Left is how much of the limit was left when the hold was opened; 0 when the host did not say.
func (h *hold) Left() time.Duration { return h.left }

// Done is closed when the stream has ended, whoever ended it.
func (h *hold) Done() <-chan struct{} { return h.done }

// Resume ends the hold and tells whether it was proved unbroken until now.
func (h *hold) Resume(ctx context.Context) (kit.QuiesceResult, error) {
	if err := h.askRelease(); err != nil {
		return kit.QuiesceResult{}, err
	}
	select {
	case <-h.done:
	case <-ctx.Done():
		return kit.QuiesceResult{}, ctx.Err()
	}
	return h.Ended()
}

// Ended says how it ended, once Done is closed. An error: the stream was lost, and what became of
// the hold is not known.
func (h *hold) Ended() (kit.QuiesceResult, error) {
	switch {
	case h.result != nil:
		return holdResult(h.result), nil
	case h.err != nil:
		return kit.QuiesceResult{}, h.err
	default:
		return kit.QuiesceResult{}, broken(h.server, "the stream ended without a proof")
	}
}

// askRelease sends the release, once. What became of it shows in the stream's end.
func (h *hold) askRelease() error {
	h.send.Lock()
	defer h.send.Unlock()
	if h.released && h.over() {
		return errs.New(errs.Internal, errorsv1.Reason_REASON_INTERNAL,
			"cannot resume "+h.server+" twice",
			errs.WithHint("retry the job, which quiesces the server again"))
	}
	if h.released {
		return nil // the wait for the answer goes on
	}
	h.released = true
	err := h.stream.Send(&agentv1.QuiesceRequest{
		Action:       &agentv1.QuiesceRequest_Resume_{Resume: &agentv1.QuiesceRequest_Resume{}},
		FencingToken: h.token,
	})
	if err == nil {
		err = h.stream.CloseSend()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		h.cancel()
	}
	return nil
}

func (h *hold) over() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// Close leaves the hold without asking for a proof: it ends, unless it may be adopted.
func (h *hold) Close() error {
	h.cancel()
	<-h.done
	return nil
}

func broken(server, why string) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_QUIESCE_BROKEN,
		"cannot keep "+server+" quiesced: "+why,
		errs.WithHint("retry; allow a longer limit if it happens again"))
}
