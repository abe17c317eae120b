package inventory

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Role is what a server is in replication.
type Role string

// The roles.
const (
	// RoleNone is a server that takes no part in replication.
	RoleNone Role = "NONE"
	// RolePrimary is a server that snapshots are taken of and replicas follow.
	RolePrimary Role = "PRIMARY"
	// RoleReplica is a server that follows a primary.
	RoleReplica Role = "REPLICA"
)

// ServerState is how a server is.
type ServerState string

// The states of a server.
const (
	// ServerProvisioning is a server that a job is making, or proving READY again.
	ServerProvisioning ServerState = "PROVISIONING"
	// ServerReady is a server that was proved to do what its role says.
	ServerReady ServerState = "READY"
	// ServerFailed is a server whose job ended before it was READY, or READY again.
	ServerFailed ServerState = "FAILED"
	// ServerUnreachable is a server whose agent does not answer: nothing is known about it.
	ServerUnreachable ServerState = "UNREACHABLE"
	// ServerDegraded is a server that was READY and does not do what its role says any more, such
	// as a replica whose threads stopped.
	ServerDegraded ServerState = "DEGRADED"
	// ServerUnknown is shown in place of READY, and never on record: nobody has seen that it is so
	// since the control plane started.
	ServerUnknown ServerState = "UNKNOWN"
	// ServerStopping is a server that a job is stopping.
	ServerStopping ServerState = "STOPPING"
	// ServerStopped is a server whose machine a job has switched off, as it was asked to.
	ServerStopped ServerState = "STOPPED"
	// ServerDeleting is a server that a job is deleting.
	ServerDeleting ServerState = "DELETING"
	// ServerDeleted is a server that is gone; its name is free again.
	ServerDeleted ServerState = "DELETED"
)

// ServerStates are all states that a server that is not gone can be shown in.
func ServerStates() []ServerState {
	return []ServerState{ServerProvisioning, ServerReady, ServerFailed, ServerUnreachable,
		ServerDegraded, ServerUnknown, ServerStopping, ServerStopped, ServerDeleting}
}

// Server is the record of one VM with an agent and a MariaDB.
type Server struct {
	Name        string
	State       ServerState
	StateReason string // why it is in this state, for operators
	Findings    []Finding
	Role        Role
	Primary     string // name of the server it follows; set on replicas alone

	Provider  string // provider that owns the machine
	MachineID string // the provider's id
	Zone      string
	Image     string
	Address   string // where agent and MariaDB are reached, without a port

	AgentIdentity string // URI of the agent's certificate; empty until it has enrolled
	AgentVersion  string
	ControlPlane  []string // addresses of the control plane that its agent was told; nil: none yet
	Port          int      // of MariaDB
	// MariaDB's server_id: unique in the fleet, never used again; zero until allocated
	ServerID uint32

	BinaryVersion  string // of the MariaDB programs
	DatadirVersion string // that last upgraded the datadir
	// id of the Volume record that the datadir is on; never the image's default one while that
	// awaits replacement
	DataVolume string
	Mounts     []Mount

	ReplicationConfigured bool
	BinlogAutoPurge       bool
	Verified              Verification // the latest one; of replicas alone
	// Unproved is the verification that a job which makes it again took back; it is given back when
	// the job ends before it changed anything.
	Unproved Verification
	// DataUnproved is why a replica may lack changes; see UnprovedData.
	DataUnproved DataUnproved
	MarksSeen    MarksSeen
	FirstReady   time.Time // zero until it was READY
	History      string    // of its primary's binary log: the id of what it follows
	// AccessRevoked is when its agent was revoked, until what it reads of its primary is ended.
	AccessRevoked time.Time
	Power         Power

	Job      string // job that made or last changed the server's state
	Created  time.Time
	Updated  time.Time
	LastSeen time.Time // last answer of the agent; zero when there was none
	Rev      int64     // grows with every change; see Etag
}

// Power is the latest change of the power of a server's machine that a job makes, or made.
type Power struct {
	Key  string `json:"key,omitempty"`  // effect key of its step
	Boot string `json:"boot,omitempty"` // boot id that the host had before
	// Asked is when the provider took the request; zero while it may not have.
	Asked time.Time `json:"asked,omitzero"`
	// Findings are those that the server had before.
	Findings []Finding `json:"findings,omitempty"`
}

// Of reports whether the job makes the change, or made it.
func (p Power) Of(jobID string) bool { return strings.HasPrefix(p.Key, jobID+"/") }

// Mount is a volume's place on a server.
type Mount struct {
	Volume string `json:"volume"` // id of the Volume record
	Path   string `json:"path"`
	FSType string `json:"fs_type"`
	FSUUID string `json:"fs_uuid"`
}

// Finding is one reason why a server does not do what its role says.
type Finding struct {
	Code   string    `json:"code"`
	Since  time.Time `json:"since"`
	Text   string    `json:"text"`
	Errors []string  `json:"errors,omitempty"` // MariaDB's or systemd's own, word for word
	Hint   errs.Hint `json:"hint,omitzero"`
	// Unproves: changes may be missing for it, also once it is over.
	Unproves bool `json:"unproves,omitempty"`
}

// Etag identifies this state of the record in requests that rely on it.
func (s Server) Etag() string { return etag(s.Rev) }

// TakeBackVerified takes back that it is verified.
func (s *Server) TakeBackVerified() {
	s.Verified, s.Unproved = Verification{}, s.Verified
}

// GiveBackVerified gives back what TakeBackVerified took: nothing of the data was changed.
func (s *Server) GiveBackVerified() {
	s.Verified, s.Unproved = s.Unproved, Verification{}
}

// InService reports whether the server was proved to do what its role says, and nothing has taken
// that back, also while it does not do it.
func (s Server) InService() bool {
	return s.State == ServerReady || s.State == ServerUnreachable || s.State == ServerDegraded
}

// Subject names the server where jobs and events need it.
func (s Server) Subject() string { return ServerSubject(s.Name) }

// ServerSubject is "servers/name".
func ServerSubject(name string) string { return "servers/" + name }

// SnapshottingSubject is what a job that snapshots the server locks.
func SnapshottingSubject(name string) string { return "snapshotting/" + name }

func etag(rev int64) string { return fmt.Sprintf("r%d", rev) }
