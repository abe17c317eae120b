package provider

import (
	"context"
	"time"
)

// SnapshotState is where a snapshot is in its life.
type SnapshotState string

// The states of a snapshot.
const (
	SnapshotPending   SnapshotState = "pending"
	SnapshotCompleted SnapshotState = "completed"
	SnapshotError     SnapshotState = "error"
)

// Snapshot is a volume's content at one point in time.
type Snapshot struct {
	// ID is given by the provider and never reused.
	ID string
	// State is where the snapshot is in its life.
	State SnapshotState
	// Reason says in words why it failed.
	Reason string
	// Progress is how much is copied, 0 to 100.
	Progress int
	// VolumeID is the volume it was taken of, which may be gone.
	VolumeID string
	// SizeBytes is the size that volume had.
	SizeBytes int64
	// Tags are the caller's.
	Tags map[string]string
	// CreatedAt is when it was begun.
	CreatedAt time.Time
}

// CreateSnapshotRequest says what to take a snapshot of.
type CreateSnapshotRequest struct {
	// VolumeID is the volume, attached or not.
	VolumeID string
	// Tags are put on the snapshot when it is made. There is no client token: a caller
	// that may have asked before looks for its tag first.
	Tags map[string]string
}

// Pacer is a provider that limits how often snapshots of one volume are begun, and how many are
// under way.
type Pacer interface {
	// SnapshotRoom says whether it would begin a snapshot of the volume now: nil, or an
	// ErrThrottled that names what is in the way. It is asked before the volume is held still for
	// the snapshot. last is when the caller last asked for one, by its own clock.
	SnapshotRoom(ctx context.Context, volumeID string, last time.Time) error
}

// Snapshots makes and deletes snapshots.
type Snapshots interface {
	// CreateSnapshot begins a snapshot. Its content is that of the volume at a point in
	// time between call and return; what is written later is not in it. ErrNotFound,
	// ErrIncorrectState (volume not yet made), ErrInvalid, ErrLimitExceeded, ErrThrottled.
	CreateSnapshot(ctx context.Context, req CreateSnapshotRequest) (Snapshot, error)
	// GetSnapshot reads one snapshot. ErrNotFound.
	GetSnapshot(ctx context.Context, id string) (Snapshot, error)
	// ListSnapshots lists snapshots, oldest first.
	ListSnapshots(ctx context.Context, filter Filter) ([]Snapshot, error)
	// DeleteSnapshot deletes a snapshot; volumes made from it stay. ErrNotFound.
	DeleteSnapshot(ctx context.Context, id string) error
}
