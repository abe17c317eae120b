package kit

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Records is one transaction on everything that steps record, and on the jobs themselves.
type Records struct {
	Servers      ServerRecords
	Volumes      VolumeRecords
	Snapshots    SnapshotRecords
	Events       EventRecords
	ServerIDs    ServerIDRecords
	Certificates CertificateRecords
	Jobs         job.Records
}

// Outcome is a step's answer to the engine.
type Outcome = job.Outcome[Records]

// Commit changes records in the transaction that records a step's outcome; it may be run several
// times.
type Commit = job.Commit[Records]

// Store gives steps transactions outside the one that completes a step.
type Store interface {
	// Write runs fn in one transaction; fn is run again as a whole when the database asks for it.
	Write(ctx context.Context, fn func(ctx context.Context, rec Records) error) error
	// Read runs fn in a transaction that changes nothing.
	Read(ctx context.Context, fn func(ctx context.Context, rec Records) error) error
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

// CertificateRecords keeps what was issued, in one transaction.
type CertificateRecords interface {
	// Revoke revokes what is good of that name, and answers with the serials.
	Revoke(ctx context.Context, recordedAs, reason string) ([]string, error)
}

// VolumeRecords keeps volume records in one transaction.
type VolumeRecords interface {
	// Get reads one, or answers inventory.ErrNotFound.
	Get(ctx context.Context, id string) (inventory.Volume, error)
	// OfServer reads all that were ever a server's.
	OfServer(ctx context.Context, server string) ([]inventory.Volume, error)
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

// EventRecords keeps the events in one transaction.
type EventRecords interface {
	// Add appends an event.
	Add(ctx context.Context, ev inventory.Event) error
}

// ServerIDRecords allocates server_ids in one transaction.
type ServerIDRecords interface {
	// Allocate gives the server a server_id that no server ever had, the same again when it has
	// one.
	Allocate(ctx context.Context, server string) (uint32, error)
	// Release frees a deleted server's ids from its name; they are never given again.
	Release(ctx context.Context, server string) error
}

// Done says that what the step stands for is true. commit may be nil.
func Done(commit Commit) (Outcome, error) { return job.Done(explained(commit)) }

// DoneUnless is Done, or a failure.
func DoneUnless(err error) (Outcome, error) {
	if err != nil {
		return Outcome{}, err
	}
	return Done(nil)
}

// NotNeeded says that there is nothing to do here, and why.
func NotNeeded(format string, args ...any) (Outcome, error) {
	return job.NotNeeded[Records](format, args...)
}

// AskOperator says that the job goes on only when an operator has decided something.
func AskOperator(question string, hint errs.Hint) (Outcome, error) {
	return job.AskOperator[Records](question, hint)
}

// Back starts the step's section over.
func Back(format string, args ...any) (Outcome, error) {
	return job.Back[Records](format, args...)
}

// BackUncounted starts the step's section over without counting it.
func BackUncounted(format string, args ...any) (Outcome, error) {
	return job.BackUncounted[Records](format, args...)
}

// Both runs commits in one transaction, in order; each may be nil.
func Both(commits ...Commit) Commit {
	return func(ctx context.Context, rec Records) error {
		for _, commit := range commits {
			if commit == nil {
				continue
			}
			if err := commit(ctx, rec); err != nil {
				return err
			}
		}
		return nil
	}
}
