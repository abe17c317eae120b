package kit

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// Quiescer holds servers at a consistent point.
type Quiescer interface {
	// Quiesce blocks commits, freezes the filesystem and returns once the point is reached. It
	// lasts as long as ctx does, or AdoptWithin longer, and never longer than its limit, which the
	// host enforces. errs.FailedPrecondition (QUIESCE_NOT_ACQUIRED) when the locks were not to be
	// had, errs.Aborted (QUIESCE_BUSY) when the server is quiesced already.
	Quiesce(ctx context.Context, req Quiesce, progress Progress) (Quiesced, error)
	// Adopt goes on with a quiesce of the same job that lost its connection: at the same point, or
	// ended, with its result. errs.Aborted (QUIESCE_BROKEN) says why there is none any more.
	Adopt(ctx context.Context, req Adopt) (Quiesced, error)
	// EndQuiesce lets a server go on that the job may adopt, and waits until it has; nil when it
	// holds none.
	EndQuiesce(ctx context.Context, token FencingToken) (*QuiesceResult, error)
}

// Quiesce says how to hold a server at a consistent point.
type Quiesce struct {
	Mode     inventory.SnapshotMode
	Limit    time.Duration
	LockWait time.Duration
	Nonce    string
	Freeze   bool
	// AdoptWithin is how long the server stays quiesced while nobody is connected; 0: not at all.
	AdoptWithin time.Duration
	Token       FencingToken
}

// Adopt says which quiesce to go on with.
type Adopt struct {
	Nonce string        // of its start
	Limit time.Duration // of its start
	Token FencingToken
}

// Quiesced is a server that is held at a consistent point. It must be resumed or closed.
type Quiesced interface {
	// Point is what was true when the point was reached.
	Point() consistentpoint.Point
	// Resume lets the server go on and tells whether it was proved to be held until now. It can be
	// called once.
	Resume(ctx context.Context) (QuiesceResult, error)
	// Left is how much of the limit was left when it was opened; 0 when the host did not say.
	Left() time.Duration
	// Done is closed when the server goes on, whoever made it, or the connection is lost.
	Done() <-chan struct{}
	// Ended says how it ended, once Done is closed. An error says why that is not known: the
	// connection was lost, and the server may be quiesced still.
	Ended() (QuiesceResult, error)
	// Close lets the server go on without asking for a proof, unless it may be adopted. Closing
	// what has ended is no error.
	Close() error
}

// QuiesceResult says how a quiesce ended.
type QuiesceResult struct {
	Unbroken     bool
	BrokenReason string
	Blocked      time.Duration // commits were blocked so long
	Frozen       time.Duration
	Down         time.Duration // offline: MariaDB was down so long
}
