package kit

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// Holder opens holds on a consistent point.
type Holder interface {
	// OpenHold blocks commits, freezes the filesystem and returns once the point is reached. The
	// hold lives as long as ctx does and never longer than its limit, which the host enforces.
	// errs.FailedPrecondition (QUIESCE_NOT_ACQUIRED) when the locks were not to be had, errs.Aborted
	// (QUIESCE_BUSY) when another one is open.
	OpenHold(ctx context.Context, req OpenHold, progress Progress) (Hold, error)
}

// OpenHold says how to hold.
type OpenHold struct {
	Mode     inventory.SnapshotMode
	Limit    time.Duration
	LockWait time.Duration
	Nonce    string
	Freeze   bool
	Fence    Fence
}

// Hold is a consistent point that is being held. It must be released or closed.
type Hold interface {
	// Testimony is what was true when the point was reached.
	Testimony() Testimony
	// Release ends the hold and tells whether it was proved unbroken until now. It can be called
	// once.
	Release(ctx context.Context) (HoldResult, error)
	// Done is closed when the hold has ended, whoever ended it.
	Done() <-chan struct{}
	// Close ends the hold without asking for a proof. Closing one that has ended is no error.
	Close() error
}

// Testimony is what was read while the point was held.
type Testimony struct {
	Replica         bool // the source is itself a replica
	ServerID        uint32
	Version         string
	BinlogPos       string
	SlavePos        string
	CurrentPos      string
	DomainID        uint32
	BinlogFile      string
	BinlogOffset    int64
	FilesystemUUID  string
	Filesystem      string
	Datadir         string
	DatadirOnVolume string
	DatadirVersion  string
	Nonce           string
	HeldAt          time.Time
}

// HoldResult says how a hold ended.
type HoldResult struct {
	Unbroken     bool
	BrokenReason string
	Blocked      time.Duration // commits were blocked so long
	Frozen       time.Duration
	Down         time.Duration // offline: MariaDB was down so long
}
