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
)

type quiesceStream = grpc.BidiStreamingClient[agentv1.QuiesceRequest, agentv1.QuiesceResponse]

// hold is an open hold: a stream, and a reader that waits for its end.
type hold struct {
	server string
	stream quiesceStream
	cancel context.CancelFunc
	point  consistentpoint.Point

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
	held, cancel := context.WithTimeout(ctx, holdBound(req))
	stream, err := a.mariadb.Quiesce(held)
	if err == nil {
		err = stream.Send(&agentv1.QuiesceRequest{
			Action:       &agentv1.QuiesceRequest_Start_{Start: quiesceStart(req)},
			FencingToken: fencingToken(req.Token),
		})
		if errors.Is(err, io.EOF) { // the stream ended already; Recv says why
			err = nil
		}
	}
	if err != nil {
		cancel()
		return nil, lost(ctx, a.server, err)
	}
	h := &hold{server: a.server, stream: stream, cancel: cancel, done: make(chan struct{})}
	if err := h.awaitPoint(ctx, progress); err != nil {
		cancel()
		return nil, err
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
			h.point = consistentPoint(m.GetPoint())
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

// Done is closed when the hold has ended, whoever ended it.
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
	if h.released {
		return errs.New(errs.Internal, errorsv1.Reason_REASON_INTERNAL,
			"cannot resume "+h.server+" twice",
			errs.WithHint("retry the job, which quiesces the server again"))
	}
	h.released = true
	err := h.stream.Send(&agentv1.QuiesceRequest{
		Action: &agentv1.QuiesceRequest_Resume_{Resume: &agentv1.QuiesceRequest_Resume{}},
	})
	if err == nil {
		err = h.stream.CloseSend()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		h.cancel()
	}
	return nil
}

// Close ends the hold without asking for a proof.
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
