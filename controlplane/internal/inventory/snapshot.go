package inventory

import "time"

// SnapshotState is how a snapshot is.
type SnapshotState string

// The states of a snapshot.
const (
	// SnapshotPending is a snapshot that is being taken.
	SnapshotPending SnapshotState = "PENDING"
	// SnapshotReady is a snapshot that is complete, consistent and has its testimony.
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
	Testimony   Testimony
	// id of the lease that keeps the primary's binlogs; empty when there is none
	Reservation string
	ReservedTo  time.Time // when that lease ends unless renewed
	Job         string    // job that took it
	EffectKey   string    // under which it was made; its tag at the provider
	Created     time.Time
	Updated     time.Time
	Rev         int64
}

// Testimony is what was true of the source while the snapshot was cut, read under the lock.
type Testimony struct {
	Server   string `json:"server"`
	Role     Role   `json:"role"`
	ServerID uint32 `json:"server_id"`
	Version  string `json:"version"` // of the MariaDB programs
	Datadir  string `json:"datadir"` // path on the source

	GTIDBinlogPos  string `json:"gtid_binlog_pos"`
	GTIDSlavePos   string `json:"gtid_slave_pos"`
	GTIDCurrentPos string `json:"gtid_current_pos"`
	GTIDDomainID   uint32 `json:"gtid_domain_id"`
	BinlogFile     string `json:"binlog_file"`
	BinlogPosition uint64 `json:"binlog_position"`

	FSUUID string `json:"fs_uuid"`
	FSType string `json:"fs_type"`
	Nonce  string `json:"nonce"` // written into the volume just before the cut

	HeldAt   time.Time     `json:"held_at"`   // when the hold was complete
	Block    time.Duration `json:"block"`     // how long writes were blocked
	Freeze   time.Duration `json:"freeze"`    // how long the filesystem was frozen
	Restarts int           `json:"restarts"`  // of MariaDB by the snapshot: 0 online, 1 offline
	BootID   string        `json:"boot_id"`   // of the source's host
	UnitID   string        `json:"unit_id"`   // InvocationID of the source's MariaDB unit
	MaxBlock time.Duration `json:"max_block"` // limit of the hold
}

// Etag identifies this state of the record in requests that rely on it.
func (s Snapshot) Etag() string { return etag(s.Rev) }

// Subject names the snapshot where jobs and events need it.
func (s Snapshot) Subject() string { return SnapshotSubject(s.ID) }

// SnapshotSubject is "snapshots/id".
func SnapshotSubject(id string) string { return "snapshots/" + id }

// Position is the GTID position that a copy starts replication from: what the source had in its
// binlog, or had applied when it was a replica itself.
func (t Testimony) Position() string {
	if t.Role == RoleReplica {
		return t.GTIDSlavePos
	}
	return t.GTIDBinlogPos
}
