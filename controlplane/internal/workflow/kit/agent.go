package kit

import (
	"context"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/replication"
	"github.com/understudy-db/understudy/proto/consistentpoint"
)

// Agents finds the agent of a server.
type Agents interface {
	// Agent returns a connection to the server's agent that has proved to be that server's, having
	// answered just now. The address is the one of the server's record. errs.Unavailable
	// (AGENT_UNREACHABLE) when it does not answer: not enrolled yet, down, cut off.
	Agent(ctx context.Context, server string) (Agent, error)
}

// FencingToken says on whose behalf a changing call is made. Agents refuse an epoch lower than the
// highest that they saw of a job.
type FencingToken struct {
	Job       string // "jobs/<id>"
	Epoch     int64
	EffectKey string // "job/step/generation": the same on each attempt
}

// Agent is what a step needs of a host. Errors are proto/rpc/errs kinds with their reasons. Every
// call is bounded by its context. agentpool calls the real one, workflowtest simulates one.
type Agent interface {
	Host
	Systemd
	Mounts
	MariaDB
	Replication
	Binlogs
	Quiescer
}

// Progress is told what goes on in a long call, one line for people. It may be nil.
type Progress func(line string)

// Host tells what host this is, and keeps its identity.
type Host interface {
	// Host returns identity and versions.
	Host(ctx context.Context) (HostInfo, error)
	// RenewCertificates gets agent and MariaDB new keys and certificates; changed is false when a
	// call with the same effect key did.
	RenewCertificates(ctx context.Context, token FencingToken) (changed bool, err error)
}

// HostInfo is what an agent knows of its host.
type HostInfo struct {
	Server         string // name that the agent was enrolled as
	OS             string
	SystemdVersion string
	MariaDBVersion string // of the installed binary; empty without one
	AgentVersion   string
	BootID         string // of the kernel: another one after each boot
	Databases      []DatabaseProcess
	// Digests and RowHash are the versions of how it digests objects and hashes rows; 0 for an
	// agent that does not tell, whose versions are 1 at most.
	Digests, RowHash int
}

// DatabaseProcess is a MariaDB or MySQL that runs on a host, in whatever unit or container.
type DatabaseProcess struct {
	PID       int
	Unit      string // of systemd; empty for none
	Datadir   string
	DeviceIDs []string // of the device below it; empty for the root disk
	Databases []string // users' in it
}

// Systemd controls units.
type Systemd interface {
	// Unit reads one unit. errs.NotFound when systemd does not know it.
	Unit(ctx context.Context, name string) (Unit, error)
	// EnsureUnit makes the unit unmasked, enabled, active and ready, from any state, and says what
	// it changed.
	EnsureUnit(ctx context.Context, req UnitRequest, progress Progress) (changes []string,
		err error)
	// StopUnit makes the unit inactive; changed is false when it was.
	StopUnit(ctx context.Context, req UnitRequest) (changed bool, err error)
	// MaskUnit makes an inactive unit unstartable; changed is false when it was.
	MaskUnit(ctx context.Context, req UnitRequest) (changed bool, err error)
}

// Unit is a unit as systemd sees it.
type Unit struct {
	ActiveState string // systemd's words: "active", "inactive", "failed", "activating", …
	SubState    string
}

// UnitRequest names a unit to change.
type UnitRequest struct {
	Unit    string
	Timeout time.Duration // 0 is the agent's default
	Token   FencingToken
}

// Mounts sees block devices and mounts by volume identity.
type Mounts interface {
	// BlockDevices lists the devices that are attached to the host, all pages.
	BlockDevices(ctx context.Context) ([]BlockDevice, error)
	// Mount reads what is mounted at a path and what its unit file says. errs.NotFound when there
	// is neither.
	Mount(ctx context.Context, path string) (Mount, error)
	// EnsureMount makes sure that the volume is mounted at the path, now and after a reboot; it
	// never formats.
	EnsureMount(ctx context.Context, req EnsureMount, progress Progress) (Mounted, error)
	// EnsureBindMount makes sure that a directory is bound to another path.
	EnsureBindMount(ctx context.Context, req EnsureBindMount) (Mounted, error)
	// EnsureUnmounted makes sure that nothing is mounted at the path, now and after a reboot, and
	// says what it changed.
	EnsureUnmounted(ctx context.Context, req EnsureUnmounted) (changes []string, err error)
	// FormatVolume makes a filesystem on a volume that is recorded blank and probes blank; changed
	// is false when this call did before.
	FormatVolume(ctx context.Context, req FormatVolume) (device BlockDevice, changed bool,
		err error)
	// GrowFilesystem grows what is mounted at a path to its device; changed is false when it filled
	// that already.
	GrowFilesystem(ctx context.Context, path string, token FencingToken) (mount Mount,
		changed bool, err error)
}

// BlockDevice is a device of a host.
type BlockDevice struct {
	Path        string
	IDs         []string // names below /dev/disk/by-id
	SizeBytes   int64
	Filesystem  string
	MountPoints []string
}

// Mount is what is mounted at a path now, and what will be after a reboot.
type Mount struct {
	Mounted    bool
	DeviceIDs  []string
	Filesystem string
	UUID       string
	SizeBytes  int64
	FreeBytes  int64
}

// EnsureMount says which volume belongs where.
type EnsureMount struct {
	DeviceIDs  []string // names below /dev/disk/by-id, any of them
	Path       string
	Filesystem string // empty accepts ext4 and xfs
	// that it must have; given to it before the first mount. Empty leaves it alone
	FilesystemUUID       string
	SourceFilesystemUUID string   // that it may have had at the source; empty accepts any
	ExpectedNonce        string   // empty does not look
	ReplaceDeviceIDs     []string // of a volume that may be replaced there
	StopUnits            []string // before something is unmounted
	DeviceTimeout        time.Duration
	Grow                 bool
	Owner                string
	BoundUnits           []string
	Token                FencingToken
}

// Mounted is a mount as proved, what was found before, and what was changed.
type Mounted struct {
	Mount   Mount
	Found   []string
	Changes []string
}

// EnsureBindMount says which directory is bound where.
type EnsureBindMount struct {
	Source     string
	Path       string
	Owner      string
	Create     bool
	BoundUnits []string
	StopUnits  []string
	Token      FencingToken
}

// EnsureUnmounted names a mount point that shall be none.
type EnsureUnmounted struct {
	Path              string
	ExpectedDeviceIDs []string // refused when another volume is mounted there; empty accepts any
	StopUnits         []string
	Token             FencingToken
}

// FormatVolume says which volume may be formatted.
type FormatVolume struct {
	DeviceIDs      []string
	Filesystem     string
	FilesystemUUID string
	RecordedBlank  bool // the fact that the call relies on
	DeviceTimeout  time.Duration
	Token          FencingToken
}

// MariaDB looks at and sets up the MariaDB of a host.
type MariaDB interface {
	// Status observes everything, also of a MariaDB that is down.
	Status(ctx context.Context) (replication.Status, error)
	// SetConfiguration writes the agent's option file; it restarts nothing.
	SetConfiguration(ctx context.Context, req Configuration) (Configured, error)
	// CheckDatadir refuses (FILES_ELSEWHERE) a server with files outside of its volume, and says
	// what a host needs to read a copy.
	CheckDatadir(ctx context.Context) (*consistentpoint.Contract, error)
	// PrepareDatadir makes a datadir fit for its first start here, while MariaDB is stopped.
	PrepareDatadir(ctx context.Context, req PrepareDatadir) (PreparedDatadir, error)
	// UpgradeDatadir brings the system tables to the binary's version without writing to the binary
	// log.
	UpgradeDatadir(ctx context.Context, timeout time.Duration, token FencingToken,
		progress Progress) (version string, changed bool, err error)
	// ProveWritable commits one row on a primary; on a replica it proves the filesystem alone, and
	// GTID is empty.
	ProveWritable(ctx context.Context, token FencingToken) (WriteProof, error)
	// ChecksumTables sends a checksum of each table at one position; begin comes first, with that
	// position.
	ChecksumTables(ctx context.Context, req ChecksumTables, begin func(ChecksumBegin),
		each func(TableChecksum)) error
	// Inventory sends every object of the server, or those of the names, with a digest of its
	// definition, and answers with the version of how they are digested. On a replica every table
	// is opened.
	Inventory(ctx context.Context, names []string, each func(Object)) (digests int, err error)
	Rows
}

// Configuration is the whole of the agent's option file; zero values are not set.
type Configuration struct {
	ServerID         uint32
	DomainID         uint32
	ReadOnly         bool
	SkipReplicaStart bool
	EventScheduler   bool
	BindAddress      string
	Port             int
	LogBin           string
	LogUpdates       bool
	StrictMode       bool
	TLS              bool
	ReportHost       string
	Durable          bool
	BinlogExpire     time.Duration // 0 keeps binary logs for ever
	Options          map[string]string
	Contract         *consistentpoint.Contract // of the datadir, where it is a copy
	Token            FencingToken
}

// Configured says what MariaDB would read at its next start.
type Configured struct {
	Changed    bool
	Overridden []string
}

// PrepareDatadir says what datadir is expected.
type PrepareDatadir struct {
	Datadir       string
	Initialize    bool   // make a new one when it is empty
	Copy          bool   // clean it of another server's replication state
	ExpectedNonce string // empty does not look
	Contract      *consistentpoint.Contract
	Token         FencingToken
}

// PreparedDatadir says what was done to a datadir.
type PreparedDatadir struct {
	Changes        []string
	DatadirVersion string
	BinaryVersion  string
}

// WriteProof is a commit that succeeded.
type WriteProof struct {
	Latency time.Duration
	GTID    string // empty on a replica
}

// ChecksumTables says of what and where.
type ChecksumTables struct {
	AtGTID      string   // where the replica was stopped; empty on the primary
	Tables      []string // "schema.table"; empty is all of the user's
	SampleBytes int64    // 0 takes all
	SampleSeed  int64
	SampleTime  time.Duration // for which tables are read; 0 is no limit
}

// Object is one object of a server: a schema, table, view, sequence, routine, trigger, event,
// account.
type Object struct {
	Kind    string // "table", "view", …
	Name    string // "schema.table", "user@host"
	Digest  string // of the definition; empty when it could not be read
	Problem string // why it cannot be opened, in MariaDB's words
	Busy    bool   // another session's lock is the reason
	Value   string // of a sequence, and how many time zones
	Remote  bool   // of a table: its engine keeps its rows outside of the datadir
}

// Replication controls a replica.
type Replication interface {
	// PrepareReplica proves the recovered position, takes the source's settings away and sets
	// gtid_slave_pos.
	PrepareReplica(ctx context.Context, req PrepareReplica) (PreparedReplica, error)
	// ConfigureReplica points MariaDB to its primary and says what it changed.
	ConfigureReplica(ctx context.Context, req ConfigureReplica) (changes []string, err error)
	// ReconnectReplica has the IO thread alone sign in again, with the certificate that MariaDB has
	// now; changed is false when it is stopped.
	ReconnectReplica(ctx context.Context, timeout time.Duration,
		token FencingToken) (changed bool, err error)
	// StartReplication makes both threads run; with until it returns when exactly that position is
	// applied and replication stopped there.
	StartReplication(ctx context.Context, until string, timeout time.Duration,
		token FencingToken) (conn replication.Connection, changed bool, err error)
	// StopReplication stops both threads, or the SQL thread alone.
	StopReplication(ctx context.Context, sqlOnly bool, timeout time.Duration,
		token FencingToken) (changed bool, err error)
	// WaitForGTID waits until the position is applied and tells how far it is meanwhile.
	WaitForGTID(ctx context.Context, gtid string, timeout time.Duration,
		report func(Waited)) (reached bool, err error)
	// Marks are what the agent noted that may have left changes out.
	Marks(ctx context.Context) (replication.Marks, error)
	// SetReadOnly turns read_only on or off.
	SetReadOnly(ctx context.Context, on bool, token FencingToken) (changed bool, err error)
}

// PrepareReplica has the position of the consistent point.
type PrepareReplica struct {
	GTID          string
	GTIDUpper     string // for a snapshot without a lock
	SourceReplica bool   // the source was itself a replica
	ServerID      uint32
	Token         FencingToken
}

// PreparedReplica says what was recovered and done.
type PreparedReplica struct {
	RecoveredGTID string
	Changes       []string
}

// ConfigureReplica says who the primary is.
type ConfigureReplica struct {
	PrimaryHost string
	PrimaryPort int
	User        string
	Certificate bool // sign in with MariaDB's certificate, without a password
	Password    Secret
	TLS         bool
	Force       bool // write also when it looks right, because the password is another one
	Token       FencingToken
}

// Waited is how far a wait for a position is.
type Waited struct {
	Current   string
	Remaining int64
}

// Binlogs guards what a primary keeps for its replicas.
type Binlogs interface {
	// ReserveBinlogs keeps the binary logs; the same id again moves its end. With from it refuses
	// (BINLOGS_PURGED) when they do not reach back to that position.
	ReserveBinlogs(ctx context.Context, id string, keep time.Duration, from string,
		token FencingToken) (replication.Reservation, error)
	// ReleaseBinlogs ends a reservation; changed is false when there was none.
	ReleaseBinlogs(ctx context.Context, id string, token FencingToken) (changed bool, err error)
	// SetBinlogExpiry makes MariaDB delete binary logs of that age, now and after a restart; 0
	// keeps them. What is reserved is kept anyway.
	SetBinlogExpiry(ctx context.Context, after time.Duration, token FencingToken) (changed bool,
		err error)
	// ListBinlogs reads all binary logs, oldest first.
	ListBinlogs(ctx context.Context) ([]replication.Binlog, error)
	// PurgeBinlogs deletes the binary logs before that file, and refuses (BINLOGS_NEEDED) what is
	// reserved or read now. It answers with the names of those that it deleted.
	PurgeBinlogs(ctx context.Context, to string, token FencingToken) (purged []string, err error)
	// EnsureReplicationAccount makes a replica's account on its primary and says what it changed.
	EnsureReplicationAccount(ctx context.Context, req ReplicationAccount) (changes []string,
		err error)
	// DeleteReplicationAccount drops it; changed is false when there was none.
	DeleteReplicationAccount(ctx context.Context, user, host string,
		token FencingToken) (changed bool, err error)
}

// ReplicationAccount is the account that one replica uses on its primary.
type ReplicationAccount struct {
	User, Host string
	Server     string // whose MariaDB signs in, with its certificate; empty for a password
	Generation string // of that certificate
	Password   Secret
	// KeepOthers leaves the user's accounts for other hosts, EndSessions ends its sessions.
	KeepOthers, EndSessions bool
	Token                   FencingToken
}
