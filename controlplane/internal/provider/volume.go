package provider

import (
	"context"
	"time"
)

// VolumeState is where a volume is in its life.
type VolumeState string

// The states of a volume.
const (
	VolumeCreating  VolumeState = "creating"
	VolumeAvailable VolumeState = "available"
	VolumeInUse     VolumeState = "in-use"
	VolumeDeleting  VolumeState = "deleting"
	VolumeDeleted   VolumeState = "deleted"
	VolumeError     VolumeState = "error"
)

// AttachmentState is how far the attachment of a volume has come.
type AttachmentState string

// The states of an attachment. Detaching lasts while the machine still has the device
// in use, for instance mounted.
const (
	AttachmentNone      AttachmentState = ""
	AttachmentAttaching AttachmentState = "attaching"
	AttachmentAttached  AttachmentState = "attached"
	AttachmentDetaching AttachmentState = "detaching"
)

// Volume is a block device as its provider sees it.
type Volume struct {
	// ID is given by the provider and never reused.
	ID string
	// State is where the volume is in its life.
	State VolumeState
	// Reason says in words what is odd, such as what holds up a detach.
	Reason string
	// SizeBytes is its size.
	SizeBytes int64
	// Type is the kind of storage, the provider's own word; may be empty.
	Type string
	// Zone is where it is.
	Zone string
	// SnapshotID is the snapshot it was made from; empty for a blank one.
	SnapshotID string
	// MachineID is the machine it is attached to, from the acceptance of the attach to
	// the end of the detach; empty otherwise.
	MachineID string
	// Attachment is how far attaching or detaching has come.
	Attachment AttachmentState
	// AttachedAt is when the attach was accepted; zero when that is not known.
	AttachedAt time.Time
	// DeleteOnTermination says that it goes when its machine is terminated.
	DeleteOnTermination bool
	// Default says that it is the image's own data volume, attached when the machine
	// was made because the image says so.
	Default bool
	// Tags are the caller's.
	Tags map[string]string
	// CreatedAt is when the creation was accepted.
	CreatedAt time.Time
}

// CreateVolumeRequest says what volume to make.
type CreateVolumeRequest struct {
	// ClientToken makes the request repeatable, as in CreateMachineRequest.
	ClientToken string
	// SizeBytes may be 0 with a SnapshotID: the snapshot's size. Never less than that.
	SizeBytes int64
	// SnapshotID is the snapshot to copy; empty for a blank volume.
	SnapshotID string
	// Zone may be empty: the provider's first.
	Zone string
	// Type may be empty: the provider's default.
	Type string
	// Tags are put on the volume when it is made.
	Tags map[string]string
}

// Volumes makes, attaches and deletes volumes.
type Volumes interface {
	// CreateVolume makes a volume. ErrInvalid, ErrTokenReused, ErrEnded, ErrNotFound (snapshot),
	// ErrIncorrectState (snapshot not complete), ErrLimitExceeded, ErrThrottled.
	CreateVolume(ctx context.Context, req CreateVolumeRequest) (Volume, error)
	// GetVolume reads one volume. ErrNotFound, also soon after its deletion.
	GetVolume(ctx context.Context, id string) (Volume, error)
	// ListVolumes lists volumes, oldest first.
	ListVolumes(ctx context.Context, filter Filter) ([]Volume, error)
	// AttachVolume gives the volume to a machine. It takes no token: ErrInUse with
	// HeldBy when it is attached anywhere, that machine included, so look first.
	// ErrIncorrectState (volume not available, machine neither running nor stopped),
	// ErrInvalid (other zone), ErrNotFound.
	AttachVolume(ctx context.Context, id, machineID string) (Volume, error)
	// DetachVolume detaches the volume from that machine; it is complete when the
	// volume is available, which a machine that has it mounted holds up.
	// ErrIncorrectState when it is not attached there, ErrNotFound.
	DetachVolume(ctx context.Context, id, machineID string) (Volume, error)
	// DeleteVolume deletes a volume that is attached nowhere. ErrInUse, ErrNotFound.
	DeleteVolume(ctx context.Context, id string) error
	// GrowVolume makes the volume larger, attached or not; same size is a no-op,
	// smaller is ErrInvalid. ErrNotFound, ErrIncorrectState, ErrLimitExceeded.
	GrowVolume(ctx context.Context, id string, sizeBytes int64) (Volume, error)
	// DeviceNames are the names that the volume's device has on a machine, in the
	// folder /dev/disk/by-id, any of which may be present.
	DeviceNames(volumeID string) []string
}
