package workflow

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// Cloud is what the steps need of a provider.
type Cloud interface {
	provider.Machines
	provider.Volumes
	provider.Snapshots
	// Name is the provider's kind.
	Name() string
	// SetTags adds tags to a machine, volume or snapshot.
	SetTags(ctx context.Context, id string, tags map[string]string) error
	// Images lists what machines can be made from.
	Images(ctx context.Context) ([]provider.Image, error)
}

// Tokens mints what a new machine's agent joins with.
type Tokens interface {
	// JoinFile returns the content of the join file for a server's new machine, with a fresh
	// one-time token.
	JoinFile(ctx context.Context, server string) ([]byte, error)
}

// Jobs shows the jobs, for what must not happen while another one is under way. *job.Engine is one.
type Jobs interface {
	// List reads a page of jobs, newest first.
	List(ctx context.Context, filter job.Filter) ([]job.Job, string, error)
	// Get reads one job.
	Get(ctx context.Context, id string) (job.Job, error)
}

// ServerRecords keeps server records in one transaction.
type ServerRecords interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, name string) (inventory.Server, error)
	// Insert adds one.
	Insert(ctx context.Context, s *inventory.Server) error
	// Update writes one that was read in this transaction.
	Update(ctx context.Context, s *inventory.Server) error
	// ReplicasOf reads the names of a primary's replicas, deleted ones left out.
	ReplicasOf(ctx context.Context, primary string) ([]string, error)
}

// VolumeRecords keeps volume records in one transaction.
type VolumeRecords interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, id string) (inventory.Volume, error)
	// Insert adds one.
	Insert(ctx context.Context, v *inventory.Volume) error
	// Update writes one that was read in this transaction.
	Update(ctx context.Context, v *inventory.Volume) error
}

// SnapshotRecords keeps snapshot records in one transaction.
type SnapshotRecords interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, id string) (inventory.Snapshot, error)
	// Insert adds one.
	Insert(ctx context.Context, s *inventory.Snapshot) error
	// Update writes one that was read in this transaction.
	Update(ctx context.Context, s *inventory.Snapshot) error
}

// EventRecords is the audit in one transaction.
type EventRecords interface {
	// Add appends an event.
	Add(ctx context.Context, ev inventory.Event) error
}

// ServerIDRecords allots server_ids in one transaction.
type ServerIDRecords interface {
	// Allot gives the server a server_id that no server ever had, the same again when it has one.
	Allot(ctx context.Context, server string) (uint32, error)
	// Release makes a gone server's ids nobody's, for good.
	Release(ctx context.Context, server string) error
}

// Records is one transaction on everything that steps record.
type Records interface {
	Servers() ServerRecords
	Volumes() VolumeRecords
	Snapshots() SnapshotRecords
	Events() EventRecords
	ServerIDs() ServerIDRecords
}

// Store gives steps transactions outside the one that completes a step.
type Store interface {
	// Write runs fn in one transaction; fn is run again as a whole when the database asks for it.
	Write(ctx context.Context, fn func(ctx context.Context, rec Records) error) error
	// Read runs fn in a transaction that changes nothing.
	Read(ctx context.Context, fn func(ctx context.Context, rec Records) error) error
}
