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
	// lasts as long as ctx does and never longer than its limit, which the host enforces.
	// errs.FailedPrecondition (QUIESCE_NOT_ACQUIRED) when the locks were not to be had,
	// errs.Aborted (QUIESCE_BUSY) when the server is quiesced already.
	Quiesce(ctx context.Context, req Quiesce, progress Progress) (Quiesced, error)
}

// Quiesce says how to hold a server at a consistent point.
type Quiesce struct {
	Mode     inventory.SnapshotMode
	Limit    time.Duration
	LockWait time.Duration
	Nonce    string
	Freeze   bool
	Token    FencingToken
}

// Quiesced is a server that is held at a consistent point. It must be resumed or closed.
type Quiesced interface {
	// Point is what was true when the point was reached.
	Point() consistentpoint.Point
	// Resume lets the server go on and tells whether it was proved to be held until now. It can be
	// called once.
	Resume(ctx context.Context) (QuiesceResult, error)
	// Done is closed when the server goes on, whoever made it.
	Done() <-chan struct{}
	// Close lets the server go on without asking for a proof. Closing what has ended is no error.
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
