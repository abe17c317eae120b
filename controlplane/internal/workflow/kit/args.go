package kit

import (
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// ServerArgs are the arguments of every kind that makes a server. A kind's own arguments embed
// them, and a step reads as many of its job's arguments as it needs.
type ServerArgs struct {
	Server      string            `json:"server,omitempty"` // that is made
	Image       string            `json:"image,omitempty"`
	Zone        string            `json:"zone,omitempty"`
	VolumeBytes int64             `json:"volume_bytes,omitempty"`
	Port        int               `json:"port,omitempty"`
	Options     map[string]string `json:"options,omitempty"`
	Cleanup     bool              `json:"cleanup,omitempty"` // remove what was made when it fails
	// Replaces is the id of the record of the data volume that the server has, and that the one
	// to be made takes the place of; empty for a server that is new.
	Replaces string `json:"replaces,omitempty"`
}

// SnapshotArgs are the arguments of every kind that takes or uses a snapshot.
type SnapshotArgs struct {
	// the snapshot's server; a replica's primary
	Source       string                 `json:"source,omitempty"`
	Snapshot     string                 `json:"snapshot,omitempty"` // id of the record
	Given        bool                   `json:"given,omitempty"`    // the snapshot is there already
	Mode         inventory.SnapshotMode `json:"mode,omitempty"`
	QuiesceLimit time.Duration          `json:"quiesce_limit,omitempty"`
	Reserve      time.Duration          `json:"reserve,omitempty"` // how long binary logs are kept
}

// The limits of quiesces and reservations.
const (
	DefaultReserve = 24 * time.Hour
	// MaxOfflineLimit is the longest time that a quiesce may stop MariaDB.
	MaxOfflineLimit = 4 * time.Hour

	defaultPort         = 3306
	defaultQuiesceLimit = 10 * time.Second
	maxQuiesceLimit     = 60 * time.Second
)

// Fill sets defaults.
func (a *ServerArgs) Fill() {
	if a.Port == 0 {
		a.Port = defaultPort
	}
}

// Fill sets defaults, and collects what a mode does not allow.
func (a *SnapshotArgs) Fill(wrong *errs.Fields) {
	if a.Mode == "" {
		a.Mode = inventory.ModeOnline
	}
	if a.QuiesceLimit == 0 {
		a.QuiesceLimit = defaultQuiesceLimit
	}
	if a.Reserve == 0 {
		a.Reserve = DefaultReserve
	}
	wrong.Require("quiesce_limit", a.QuiesceLimit <= maxQuiesceLimit ||
		a.Mode == inventory.ModeOffline,
		"must be at most "+maxQuiesceLimit.String()+" unless the mode is OFFLINE")
}

// SnapshotID is the id of the snapshot that a request makes: the same for a repeat of the request.
func SnapshotID(requestID string) string { return "snap-" + digest("snapshot", requestID)[:12] }

// MakeArgs are what the steps of a server in the making read, primary or replica.
type MakeArgs struct {
	ServerArgs
	SnapshotArgs
}

// ForMaking are the arguments of a job that makes a server.
type ForMaking interface{ ForMaking() MakeArgs }

// ForSnapshot are the arguments of a job that takes, uses or removes a snapshot.
type ForSnapshot interface{ ForSnapshot() SnapshotArgs }

// ForMaking are those of a server that is made from no snapshot.
func (a ServerArgs) ForMaking() MakeArgs { return MakeArgs{ServerArgs: a} }

// ForMaking are these.
func (a MakeArgs) ForMaking() MakeArgs { return a }

// ForSnapshot are these.
func (a SnapshotArgs) ForSnapshot() SnapshotArgs { return a }

// Makes is the server that is made.
func (a ServerArgs) Makes() string { return a.Server }

// Uses are the source and the snapshot.
func (a SnapshotArgs) Uses() []string {
	return []string{inventory.ServerSubject(a.Source), inventory.SnapshotSubject(a.Snapshot)}
}

// Reservation is the id under which a job keeps binary logs: its snapshot's, unless that was there
// already and may be in other jobs' use.
func (a SnapshotArgs) Reservation(jobID string) string {
	if a.Given {
		return "job-" + jobID
	}
	return a.Snapshot
}
