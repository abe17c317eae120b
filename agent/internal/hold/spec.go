// Package hold keeps a consistent point of MariaDB for as long as its caller needs it and not a
// moment longer. The point is held by a process of its own, which systemd limits, so that neither
// the death of the agent nor that of the caller leaves the server blocked. The agent's side is
// Manager; the process's side is Run, which `understudy-agent hold SOCKET` calls.
package hold

import (
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// Mode is how a point is made consistent.
type Mode string

// The modes.
const (
	// Online blocks commits; MariaDB goes on serving reads.
	Online Mode = "online"
	// Offline stops MariaDB cleanly and starts it again.
	Offline Mode = "offline"
	// Crash takes no lock and relies on recovery.
	Crash Mode = "crash"
)

// Spec says what to hold.
type Spec struct {
	Mode Mode `json:"mode"`
	// Limit is the hard limit, from the first lock on.
	Limit time.Duration `json:"limit"`
	// LockWait is how long one lock may be waited for.
	LockWait time.Duration `json:"lock_wait"`
	// Nonce is written onto the volume before.
	Nonce string `json:"nonce"`
	// Freeze freezes the filesystem as well.
	Freeze bool `json:"freeze"`
}

// Result says how a hold ended.
type Result struct {
	// Unbroken is true when it was proved unbroken until the release; BrokenReason says why it is
	// not.
	Unbroken     bool   `json:"unbroken"`
	BrokenReason string `json:"broken_reason"`
	// Blocked, Frozen and Down are how long commits were blocked, the filesystem frozen, MariaDB
	// down.
	Blocked time.Duration `json:"blocked"`
	Frozen  time.Duration `json:"frozen"`
	Down    time.Duration `json:"down"`
	// After are the positions after the cut.
	After mariadb.Positions `json:"after"`
}
