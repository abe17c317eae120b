package inventory

import (
	"time"

	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// SnapshotState is how a snapshot is.
type SnapshotState string

// The states of a snapshot.
const (
	// SnapshotPending is a snapshot that is being taken.
	SnapshotPending SnapshotState = "PENDING"
	// SnapshotReady is a snapshot that is complete, consistent and has its consistent point.
	SnapshotReady SnapshotState = "READY"
	// SnapshotFailed is a snapshot that must not be used.
	SnapshotFailed SnapshotState = "FAILED"
	// SnapshotDeleted is a snapshot that is gone.
	SnapshotDeleted SnapshotState = "DELETED"
)

// SnapshotMode is how consistency is had.
type SnapshotMode string

// The modes.
const (
	// ModeOnline holds commits and freezes the filesystem for a moment; the primary goes on
	// serving.
	ModeOnline SnapshotMode = "ONLINE"
	// ModeOffline stops MariaDB cleanly and starts it again.
	ModeOffline SnapshotMode = "OFFLINE"
	// ModeCrash takes no lock: the copy is as after a power cut.
	ModeCrash SnapshotMode = "CRASH"
)

// Snapshot is the record of a point-in-time copy of a data volume, with what was true at that
// point.
type Snapshot struct {
	ID          string
	Server      string // source
	Volume      string // id of the Volume record that was copied
	Provider    string
	ProviderID  string // the provider's id; empty until the cut
	Zone        string
	SizeBytes   int64
	Mode        SnapshotMode
	State       SnapshotState
	StateReason string
	Progress    int // of the provider's copy, in percent
	// Point is what was true of the source when the snapshot was taken.
	Point consistentpoint.Point
	// MaxPosition is the highest position that the copy may come up at, of a snapshot without a
	// lock: what was committed until after it was taken.
	MaxPosition string
	// History is the id of the history of the binary log that a copy goes on from, the same before
	// and after; empty when it was not known.
	History string
	Quiesce Quiesce
	// id of the lease that keeps the primary's binlogs; empty when there is none
	Reservation string
	ReservedTo  time.Time // when that lease ends unless renewed
	Job         string    // job that took it
	EffectKey   string    // under which it was made; its tag at the provider
	Created     time.Time
	Updated     time.Time
	Rev         int64
}

// Quiesce is how the source was held still for a snapshot.
type Quiesce struct {
	Limit    time.Duration `json:"limit"`
	Blocked  time.Duration `json:"blocked"`  // how long writes were blocked, a restart included
	Frozen   time.Duration `json:"frozen"`   // how long the filesystem was frozen
	Restarts int           `json:"restarts"` // of MariaDB: 0 online, 1 offline
	// What a control plane needs that goes on with a quiesce: when the limit ends it, the history
	// of the binary log before it, and the provider's id of what was begun under it.
	Until   time.Time `json:"until,omitzero"`
	History string    `json:"history,omitempty"`
	Begun   string    `json:"begun,omitempty"`
	// Lost is why the quiesce before this one was lost, until the point of this one is reached.
	Lost string `json:"lost,omitempty"`
	// Refusals is how often in a row the provider would not begin the snapshot although the source
	// was held for it, and NotBefore when it may be held again.
	Refusals  int       `json:"refusals,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
}

// Etag identifies this state of the record in requests that rely on it.
func (s Snapshot) Etag() string { return etag(s.Rev) }

// Subject names the snapshot where jobs and events need it.
func (s Snapshot) Subject() string { return SnapshotSubject(s.ID) }

// SnapshotSubject is "snapshots/id".
func SnapshotSubject(id string) string { return "snapshots/" + id }
