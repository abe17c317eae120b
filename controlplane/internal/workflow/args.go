package workflow

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// The kinds of jobs.
const (
	KindCreatePrimary  = "create_primary"
	KindTakeSnapshot   = "take_snapshot"
	KindCreateReplica  = "create_replica"
	KindDeleteServer   = "delete_server"
	KindDeleteSnapshot = "delete_snapshot"
)

// Verify is how a replica's data is compared before it is READY.
type Verify string

// The levels of verification; each includes the ones before it.
const (
	// VerifyPosition means that the replica applied a target position taken on its primary.
	VerifyPosition Verify = "position"
	VerifySample   Verify = "sample" // and a sample of the tables is equal
	VerifyFull     Verify = "full"   // and all tables are equal
)

// Args is what a job was asked for, as kept in its row. What a kind has no use for is empty.
type Args struct {
	Server string `json:"server,omitempty"` // that is made or deleted
	// snapshot's server; the replica's primary
	Source   string `json:"source,omitempty"`
	Snapshot string `json:"snapshot,omitempty"` // record's id
	// the replica's job takes the snapshot itself
	TakeSnapshot bool                   `json:"take_snapshot,omitempty"`
	Mode         inventory.SnapshotMode `json:"mode,omitempty"`
	HoldLimit    time.Duration          `json:"hold_limit,omitempty"`
	Reserve      time.Duration          `json:"reserve,omitempty"` // how long binary logs are kept

	Image       string            `json:"image,omitempty"`
	Zone        string            `json:"zone,omitempty"`
	VolumeBytes int64             `json:"volume_bytes,omitempty"`
	Filesystem  string            `json:"filesystem,omitempty"`
	Port        int               `json:"port,omitempty"`
	AutoPurge   bool              `json:"auto_purge,omitempty"`
	Options     map[string]string `json:"options,omitempty"`
	Verify      Verify            `json:"verify,omitempty"`
	Cleanup     bool              `json:"cleanup,omitempty"` // remove what was made when it fails
	// of the record that a deletion relies on
	Etag string `json:"etag,omitempty"`
	// job that made the server to delete: a later one may have its name
	MadeBy string `json:"made_by,omitempty"`
}

const (
	defaultPort      = 3306
	defaultVolume    = 2 << 30
	defaultHoldLimit = 10 * time.Second
	maxHoldLimit     = 60 * time.Second
	maxOfflineLimit  = 4 * time.Hour
	defaultReserve   = 24 * time.Hour
	maxReserve       = 7 * 24 * time.Hour
)

// withDefaults fills in what was left out and refuses what can never work, all of it at once.
func (a Args) withDefaults(kind string) (Args, error) {
	var wrong errs.Fields
	switch kind {
	case KindCreatePrimary, KindCreateReplica:
		a.fillServer(kind, &wrong)
	case KindTakeSnapshot:
		wrong.Require("server", a.Source != "", "a server is needed")
	}
	if kind == KindTakeSnapshot || a.TakeSnapshot {
		a.fillSnapshot(&wrong)
	}
	return a, wrong.Err()
}

func (a *Args) fillServer(kind string, wrong *errs.Fields) {
	if err := inventory.ValidateName(a.Server); err != nil {
		wrong.Add("name", err.Error())
	}
	if a.Port == 0 {
		a.Port = defaultPort
	}
	wrong.Require("port", a.Port > 0 && a.Port < 65536, "must be 1 to 65535")
	if kind == KindCreatePrimary {
		a.fillPrimary(wrong)
	} else {
		a.fillReplica(wrong)
	}
	if a.VolumeBytes != 0 {
		if err := provider.ValidateSize(a.VolumeBytes); err != nil {
			wrong.Add("volume_size_bytes", err.Error())
		}
	}
}

func (a *Args) fillPrimary(wrong *errs.Fields) {
	if a.VolumeBytes == 0 {
		a.VolumeBytes = defaultVolume
	}
	if a.Filesystem == "" {
		a.Filesystem = "ext4"
	}
	wrong.Require("filesystem", a.Filesystem == "ext4" || a.Filesystem == "xfs",
		`must be "ext4" or "xfs"`)
}

func (a *Args) fillReplica(wrong *errs.Fields) {
	if a.Verify == "" {
		a.Verify = VerifyPosition
	}
	wrong.Require("verify", slices.Contains([]Verify{VerifyPosition, VerifySample, VerifyFull},
		a.Verify), "must be one of position, sample, full")
	wrong.Require("primary", a.Source != "", "a primary or a snapshot is needed")
	wrong.Require("name", a.Server != a.Source, "a server cannot be its own replica")
	wrong.Require("quiesce_limit", a.HoldLimit == 0 || a.TakeSnapshot,
		"is for a new snapshot, and the one to use is taken")
}

func (a *Args) fillSnapshot(wrong *errs.Fields) {
	if a.Mode == "" {
		a.Mode = inventory.ModeOnline
	}
	if a.HoldLimit == 0 {
		a.HoldLimit = defaultHoldLimit
	}
	if a.Reserve == 0 {
		a.Reserve = defaultReserve
	}
	most := maxHoldLimit
	if a.Mode == inventory.ModeOffline {
		most = maxOfflineLimit
	}
	wrong.Require("mode",
		slices.Contains([]inventory.SnapshotMode{inventory.ModeOnline, inventory.ModeOffline,
			inventory.ModeCrash}, a.Mode),
		"must be ONLINE, OFFLINE or CRASH")
	wrong.Require("quiesce_limit", a.HoldLimit >= time.Second && a.HoldLimit <= most,
		"must be 1s to "+most.String())
	wrong.Require("reserve_binlogs", a.Reserve >= time.Minute && a.Reserve <= maxReserve,
		"must be 1m to "+maxReserve.String())
}

// snapshotID is the id of the snapshot that a request makes: the same for a repeat of the request.
func snapshotID(requestID string) string { return "snap-" + digest("snapshot", requestID)[:12] }

func mintRequest(id string) string {
	if id == "" {
		return uuid.NewString()
	}
	return id
}

func cloneOptions(m map[string]string) map[string]string { return maps.Clone(m) }
