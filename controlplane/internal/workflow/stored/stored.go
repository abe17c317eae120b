// Package stored is the store as jobs see it: each transaction carries the records that steps work
// with and the jobs' own.
package stored

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/store"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

// Transactions are what a store gives. *store.Store is one.
type Transactions interface {
	// Write runs fn in one transaction; fn is run again as a whole when the database asks for it.
	Write(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	// Read runs fn in a transaction that changes nothing.
	Read(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error
	// Jobs gives the job records as seen in tx.
	Jobs(tx *store.Tx) job.Records
}

// Store is a store for the engine and for steps.
type Store struct{ transactions Transactions }

// New makes one.
func New(t Transactions) Store { return Store{t} }

// Write runs fn in one transaction; see kit.Store.
func (s Store) Write(ctx context.Context,
	fn func(ctx context.Context, rec kit.Records) error) error {
	return s.transactions.Write(ctx, s.bind(fn))
}

// Read runs fn in a transaction that changes nothing.
func (s Store) Read(ctx context.Context,
	fn func(ctx context.Context, rec kit.Records) error) error {
	return s.transactions.Read(ctx, s.bind(fn))
}

// Jobs gives the job records as seen in the transaction.
func (Store) Jobs(rec kit.Records) job.Records { return rec.Jobs }

func (s Store) bind(fn func(ctx context.Context, rec kit.Records) error,
) func(context.Context, *store.Tx) error {
	return func(ctx context.Context, tx *store.Tx) error {
		return fn(ctx, kit.Records{
			Servers: tx.Servers(), Volumes: tx.Volumes(), Snapshots: tx.Snapshots(),
			Events: tx.Events(), ServerIDs: tx.ServerIDs(), Certificates: tx.Certificates(),
			Jobs: s.transactions.Jobs(tx),
		})
	}
}
