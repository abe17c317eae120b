package provider

import (
	"context"
	"time"
)

// Manual is a provider whose work is done by operators. What is asked of it becomes a task; the
// object's Reason says it until it is done.
//
// Its snapshots are a point in time between the call of CreateSnapshot and the state completed,
// which can be minutes later: whoever needs a consistent one holds the volume still until then.
type Manual interface {
	// SnapshotTime is the least time that an operator needs to copy a volume.
	SnapshotTime() time.Duration
	// Tasks lists the tasks that are open, oldest first; with closed also those that ended in the
	// last days.
	Tasks(ctx context.Context, closed bool) ([]Task, error)
	// CompleteTask says that a task was done, with what only the operator knows. Saying it twice is
	// fine. ErrNotFound, ErrInvalid (something is missing or taken), ErrIncorrectState (refused or
	// withdrawn meanwhile; or the host shows that it was not done).
	CompleteTask(ctx context.Context, id string, result TaskResult) (Task, error)
	// RefuseTask says that a task will not be done, and why. The job that asked fails with that.
	// ErrNotFound, ErrInvalid, ErrIncorrectState.
	RefuseTask(ctx context.Context, id, why string) (Task, error)
}

// Task is one thing that an operator is asked to do.
type Task struct {
	// ID is given by the provider and never reused.
	ID string
	// Kind is what is to be done, such as "attach-volume".
	Kind string
	// Do is the whole of it in a sentence, with what to say afterwards.
	Do string
	// ObjectID is the machine, volume or snapshot that the task is about.
	ObjectID string
	// MachineID and MachineName are the machine that takes part; empty when none does.
	MachineID, MachineName string
	// Image is what a machine is to be made from.
	Image string
	// VolumeID is the volume to cut; SnapshotID the snapshot to copy, empty for a blank volume.
	VolumeID, SnapshotID string
	// Device is the name of the volume's device below /dev/disk/by-id, once it is known.
	Device string
	// Label is what the operator called the volume, snapshot or machine that the task starts from.
	Label string
	// SizeBytes is the size to make a volume of, or to grow it to.
	SizeBytes int64
	// State is where the task is.
	State TaskState
	// Why says why it was refused or withdrawn.
	Why string
	// CreatedAt is when it was asked.
	CreatedAt time.Time
	// Tags are those of the object, when it was asked.
	Tags map[string]string
}

// TaskState is where a task is.
type TaskState string

// The states of a task.
const (
	TaskOpen      TaskState = "open"
	TaskDone      TaskState = "done"
	TaskRefused   TaskState = "refused"
	TaskWithdrawn TaskState = "withdrawn"
)

// TaskResult is what only an operator knows of what they did. What a task has no use for is
// ErrInvalid.
type TaskResult struct {
	// Address is the IP address of a machine that was made.
	Address string
	// DefaultDevice is the device of the data volume that a machine came with; empty when it has
	// none.
	DefaultDevice string
	// Device is the name below /dev/disk/by-id that a volume's own serial gives it.
	Device string
	// SizeBytes is the size of a volume that is larger than was asked for, or that of the default
	// volume.
	SizeBytes int64
	// Label is what operators call it; later tasks repeat it.
	Label string
}
