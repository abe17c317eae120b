package store

import (
	"context"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
)

// Tx is one transaction; it carries the domain's records and the jobs'.
type Tx struct{}

// Servers gives the server records.
func (tx *Tx) Servers() Servers { return Servers{Repo[inventory.Server]{tx: tx}} }

// Volumes gives the volume records.
func (tx *Tx) Volumes() Volumes { return Volumes{Repo[inventory.Volume]{tx: tx}} }

// Snapshots gives the snapshot records.
func (tx *Tx) Snapshots() Snapshots { return Snapshots{Repo[inventory.Snapshot]{tx: tx}} }

// Events gives the audit.
func (tx *Tx) Events() Events { return Events{tx: tx} }

// JoinTokens gives the join tokens.
func (tx *Tx) JoinTokens() JoinTokens { return JoinTokens{tx: tx} }

// Certificates gives the issued certificates.
func (tx *Tx) Certificates() Certificates { return Certificates{tx: tx} }

// ServerIDs gives the allotment of MariaDB server ids.
func (tx *Tx) ServerIDs() ServerIDs { return ServerIDs{tx: tx} }

// Page asks for a part of a list.
type Page struct {
	Size  int    // 1 to 500; default 50
	Token string // of the page before; empty for the first
}

// Repo keeps one kind of record.
type Repo[R any] struct{ tx *Tx }

// Get reads a record by its key, or answers inventory.ErrNotFound.
func (r Repo[R]) Get(ctx context.Context, key string) (R, error) { var z R; return z, nil }

// Insert adds a record and sets its Rev and times, or answers inventory.ErrExists.
func (r Repo[R]) Insert(ctx context.Context, rec *R) error { return nil }

// Update writes a record that was read in this transaction and moves its Rev. When the record has changed since, the transaction is run again.
func (r Repo[R]) Update(ctx context.Context, rec *R) error { return nil }

// Delete removes a record, or answers inventory.ErrNotFound.
func (r Repo[R]) Delete(ctx context.Context, key string) error { return nil }

// ServerFilter narrows a list of servers. Zero fields do not narrow.
type ServerFilter struct {
	State   inventory.ServerState
	Role    inventory.Role
	Primary string
}

// Servers keeps server records, by name.
type Servers struct{ Repo[inventory.Server] }

// List reads a page of servers by name, and the token of the next page (empty at the end).
func (s Servers) List(ctx context.Context, f ServerFilter, p Page) ([]inventory.Server, string, error) {
	return nil, "", nil
}

// ReplicasOf reads the names of the replicas of a primary, deleted ones left out.
func (s Servers) ReplicasOf(ctx context.Context, primary string) ([]string, error) { return nil, nil }

// VolumeFilter narrows a list of volumes. Zero fields do not narrow.
type VolumeFilter struct {
	Server   string
	State    inventory.VolumeState
	Snapshot string
	Job      string
}

// Volumes keeps volume records, by id.
type Volumes struct{ Repo[inventory.Volume] }

// List reads a page of volumes by id, and the token of the next page (empty at the end).
func (v Volumes) List(ctx context.Context, f VolumeFilter, p Page) ([]inventory.Volume, string, error) {
	return nil, "", nil
}

// SnapshotFilter narrows a list of snapshots. Zero fields do not narrow.
type SnapshotFilter struct {
	Server string
	State  inventory.SnapshotState
	Job    string
}

// Snapshots keeps snapshot records, by id.
type Snapshots struct{ Repo[inventory.Snapshot] }

// List reads a page of snapshots, newest first, and the token of the next page (empty at the end).
func (s Snapshots) List(ctx context.Context, f SnapshotFilter, p Page) ([]inventory.Snapshot, string, error) {
	return nil, "", nil
}

// EventFilter narrows the audit. Zero fields do not narrow.
type EventFilter struct{ Subject, Job, Actor string }

// Events is the audit.
type Events struct{ tx *Tx }

// Add appends an event; its ID and, when zero, its time are set.
func (e Events) Add(ctx context.Context, ev inventory.Event) error { return nil }

// List reads a page of events, newest first, and the token of the next page (empty at the end).
func (e Events) List(ctx context.Context, f EventFilter, p Page) ([]inventory.Event, string, error) {
	return nil, "", nil
}

// JoinTokens keeps join tokens, by hash.
type JoinTokens struct{ tx *Tx }

// Insert adds a token.
func (j JoinTokens) Insert(ctx context.Context, t inventory.JoinToken) error { return nil }

// Get reads a token by its hash, or answers inventory.ErrNotFound.
func (j JoinTokens) Get(ctx context.Context, hash string) (inventory.JoinToken, error) {
	return inventory.JoinToken{}, nil
}

// Spend writes that the token was used, if it still is unused or used by the same key. Otherwise it answers a refusal.
func (j JoinTokens) Spend(ctx context.Context, t inventory.JoinToken) error { return nil }

// Certificates keeps issued certificates, by serial.
type Certificates struct{ tx *Tx }

// Insert adds a certificate.
func (c Certificates) Insert(ctx context.Context, cert inventory.Certificate) error { return nil }

// Get reads a certificate by its serial, or answers inventory.ErrNotFound.
func (c Certificates) Get(ctx context.Context, serial string) (inventory.Certificate, error) {
	return inventory.Certificate{}, nil
}

// Revoke revokes the certificates of an identity that are still good, and returns their serials.
func (c Certificates) Revoke(ctx context.Context, identity, reason string) ([]string, error) {
	return nil, nil
}

// Revoked reads the serials of revoked certificates that have not expired.
func (c Certificates) Revoked(ctx context.Context) ([]string, error) { return nil, nil }

// ServerIDs allots MariaDB server ids: unique in the fleet, never used again.
type ServerIDs struct{ tx *Tx }

// Allot gives the server a server_id that no server ever had. A server that has one gets the same again.
func (s ServerIDs) Allot(ctx context.Context, server string) (uint32, error) { return 0, nil }

// Claim records a server_id that a server was found with, or refuses when another has or had it.
func (s ServerIDs) Claim(ctx context.Context, server string, id uint32) error { return nil }

// Config says where the records are. Exactly one of Path and DSN is set.
type Config struct {
	Path string // SQLite file; made when it is not there
	DSN  string // MariaDB, as go-sql-driver writes it
}

// Store is the records' home. It implements job.Store[*Tx].
type Store struct{}

var _ job.Store[*Tx] = (*Store)(nil)

// Open opens the store and brings its schema up to date.
func Open(ctx context.Context, cfg Config) (*Store, error) { return &Store{}, nil }

// Close ends all connections. Closing twice is fine.
func (s *Store) Close() error { return nil }

// Write runs fn in one transaction that can change records; see job.Store.
func (s *Store) Write(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return nil
}

// Read runs fn in a transaction that changes nothing; see job.Store.
func (s *Store) Read(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return nil
}

// Jobs gives the job records as seen in tx.
func (s *Store) Jobs(tx *Tx) job.Records { return nil }
