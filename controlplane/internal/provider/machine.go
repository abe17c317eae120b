package provider

import (
	"context"
	"time"
)

// MachineState is where a machine is in its life.
type MachineState string

// The states of a machine. A machine that is being terminated is stopping.
const (
	MachinePending    MachineState = "pending"
	MachineRunning    MachineState = "running"
	MachineStopping   MachineState = "stopping"
	MachineStopped    MachineState = "stopped"
	MachineTerminated MachineState = "terminated"
)

// Machine is a virtual machine as its provider sees it. Running says that it was
// switched on, not that its services answer.
type Machine struct {
	// ID is given by the provider and never reused.
	ID string
	// Name is the host name.
	Name string
	// State is where the machine is in its life.
	State MachineState
	// Reason says in words why the machine is in its state; empty when nothing is odd.
	Reason string
	// Failed says that the provider itself brought it to its state, with no call of anybody.
	Failed bool
	// Image is the name of the image it was made from.
	Image string
	// Zone is where it is; only volumes of the same zone can be attached.
	Zone string
	// Address is its IP address, fixed for its whole life.
	Address string
	// Tags are the caller's.
	Tags map[string]string
	// CreatedAt is when the creation was accepted.
	CreatedAt time.Time
	// StartedAt is when it was last switched on; zero when it never was.
	StartedAt time.Time
}

// CreateMachineRequest says what machine to make.
type CreateMachineRequest struct {
	// ClientToken makes the request repeatable: the same token with the same
	// parameters answers with the machine made first, ErrTokenReused otherwise.
	// 1 to 64 printable ASCII characters.
	ClientToken string
	// Name is the host name: letters, digits and inner hyphens, at most 63.
	Name string
	// Image is the name of one of Images.
	Image string
	// Zone may be empty: the provider's first.
	Zone string
	// OtherZones lets the machine be made in another zone when that one is full.
	OtherZones bool
	// Tags are put on the machine when it is made.
	Tags map[string]string
	// UserData is the join file, readable by root alone on the machine. It takes no
	// part in the comparison of tokens, as a retry may carry a newer join token.
	UserData []byte
}

// Filter narrows a list. Everything that is set must match.
type Filter struct {
	// Tags must all be present with exactly these values.
	Tags map[string]string
	// MachineID keeps the volumes attached to that machine; other lists ignore it.
	MachineID string
	// MadeUntil is when another worker may have made such things last; zero: none did. A provider
	// that shows late what was made answers only once it would show what was made until then.
	MadeUntil time.Time
	// Complete wants a list that lacks nothing, with any of Tags: for what is not found later is
	// left behind. A provider that may not show yet what was, or may have been, made answers
	// ErrThrottled. Without it such a provider waits for some seconds and lists what it shows.
	Complete bool
}

// All is the filter that wants a complete list.
func (f Filter) All() Filter {
	f.Complete = true
	return f
}

// Machines makes and ends machines.
type Machines interface {
	// CreateMachine makes a machine with its image's default volume, switched on.
	// ErrInvalid, ErrTokenReused, ErrEnded, ErrNotFound (image), ErrLimitExceeded, ErrThrottled.
	CreateMachine(ctx context.Context, req CreateMachineRequest) (Machine, error)
	// GetMachine reads one machine. A terminated one stays readable for a while, then
	// ErrNotFound.
	GetMachine(ctx context.Context, id string) (Machine, error)
	// ListMachines lists machines, terminated ones included while they are readable,
	// oldest first.
	ListMachines(ctx context.Context, filter Filter) ([]Machine, error)
	// StartMachine switches a stopped machine on; no-op on a running one.
	// ErrIncorrectState while it is stopping or terminated.
	StartMachine(ctx context.Context, id string) error
	// StopMachine asks the machine's system to shut down and cuts its power after a
	// limit; no-op on a stopped one. ErrIncorrectState when terminated.
	StopMachine(ctx context.Context, id string) error
	// RebootMachine restarts the machine's system. Volumes and address stay.
	// ErrIncorrectState unless running.
	RebootMachine(ctx context.Context, id string) error
	// TerminateMachine ends the machine for good: volumes with DeleteOnTermination
	// are deleted, others detached. No-op on a terminated one.
	TerminateMachine(ctx context.Context, id string) error
}
