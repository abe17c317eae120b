package replication

import (
	"strings"
	"time"
)

// Status is all that could be known of one MariaDB at one moment, as agentpool converts it from the
// agent's answer. What needs a query is empty unless Answers.
type Status struct {
	Answers    bool   // it answered a query in this very look
	DownReason string // why it does not answer
	// AccessDenied is true when it refuses its agent's account: no wait helps.
	AccessDenied bool
	Clock        Clock

	BinaryVersion  string // of the installed programs, "11.8.6"
	DatadirVersion string // that last upgraded the datadir; empty when the datadir has none
	Datadir        string
	ServerVersion  string // of the server that answers, with its suffix
	Started        time.Time

	ServerID       uint32
	DomainID       uint32 // gtid_domain_id
	Port           int
	ReadOnly       bool
	LogBin         bool
	LogUpdates     bool // log_slave_updates
	StrictMode     bool // gtid_strict_mode
	SyncBinlog     int64
	FlushAtCommit  int64  // innodb_flush_log_at_trx_commit
	EventScheduler string // "ON", "OFF", "DISABLED"
	TLS            bool
	BinlogExpire   time.Duration // binlog_expire_logs_seconds; 0 keeps them for ever
	BinlogMaxBytes int64         // max_binlog_total_size; 0 is no limit

	BinlogPos    string // gtid_binlog_pos
	SlavePos     string // gtid_slave_pos
	CurrentPos   string // gtid_current_pos
	BinlogState  string // gtid_binlog_state
	BinlogFile   string
	BinlogOffset int64
	BinlogBytes  int64 // size of all binary logs
	OldestBinlog string
	OldestGTID   string // low-water mark: a replica behind it cannot be served

	Mismatches   []Mismatch   // settings that it does not run with
	Connections  []Connection // of this server to its primary; empty on a primary
	Replicas     []Connected  // dump threads on this server
	Reservations []Reservation
	Held         bool // a hold is open

	Options          []string // that MariaDB would read at its next start; passwords left out
	FilesystemUsed   int64    // bytes, of the datadir's filesystem
	FilesystemFree   int64    // bytes
	FilesystemUUID   string
	Filesystem       string   // type
	FilesystemMount  string   // mount point
	NonTransactional []string // the user's tables that are not InnoDB; at most 100
	Memory           []string // the user's MEMORY tables; at most 100

	// BinlogHistory is the id of the history that the binary log has; empty when it is not known.
	BinlogHistory string
	// HistoryReason is why it is another one than before, HistoryClaim what proves it.
	HistoryReason string
	HistoryClaim  Claim
	// Settings are those by which changes are left out, as the running server has them.
	Settings map[string]string
	// Certificate is what the agent installed for MariaDB; zero when there is none, or when an
	// agent of an earlier version does not tell.
	Certificate Certificate
	// TakesCertificates is true when accounts can require a certificate of the fleet's CA.
	TakesCertificates bool
	// TakesGenerations is true when they can require one of a generation.
	TakesGenerations bool
	// LockHolders are the sessions that keep its applier waiting for a lock, or may, in words.
	LockHolders string
}

// Certificate is what MariaDB shows, as a server and as a replica.
type Certificate struct {
	Server     string // whose MariaDB signs in with it; empty for none's
	Generation string // of a server's certificates; empty in those of earlier versions
	Expires    time.Time
}

// Mismatch is a setting that a server does not run with, or will not after its next start.
type Mismatch struct {
	Name     string // of the option
	Want, Is string // what is relied on, and what counts
	From     string // where that comes from
}

// String is the mismatch as one line.
func (m Mismatch) String() string {
	return m.Name + " is " + m.Is + " instead of " + m.Want + " (" + m.From + ")"
}

// Mismatch is all mismatches as one line; empty when there are none.
func (s Status) Mismatch() string {
	lines := make([]string, 0, len(s.Mismatches))
	for _, m := range s.Mismatches {
		lines = append(lines, m.String())
	}
	return strings.Join(lines, "; ")
}

// Connection is one row of SHOW ALL REPLICAS STATUS.
type Connection struct {
	Name            string
	PrimaryHost     string
	PrimaryPort     int
	User            string
	IORunning       string // "Yes", "No", "Connecting", "Preparing"
	SQLRunning      string // "Yes", "No"
	IOState         string
	SQLState        string
	IOErrno         int
	IOError         string
	SQLErrno        int
	SQLError        string
	UsingGTID       string // "No", "Slave_Pos", "Current_Pos"
	ReceivedPos     string // gtid_io_pos
	ReadFile        string // binary log of the primary that the IO thread reads
	ReadOffset      int64  // how far it has read that one, in bytes
	SecondsBehind   time.Duration
	SecondsKnown    bool // false when MariaDB answers NULL
	TLS             bool
	TLSVerify       bool
	PrimaryServerID uint32
	Settings        map[string]string // by which it leaves changes out
	Certificate     bool              // it signs in with MariaDB's certificate, not a password
}

// Connected is a replica that has a dump thread on a server.
type Connected struct {
	ServerID uint32
	Host     string
	User     string
}

// Reservation keeps binary logs from being purged.
type Reservation struct {
	ID        string
	FirstFile string
	Expires   time.Time
}
