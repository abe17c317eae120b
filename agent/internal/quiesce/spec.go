// Package quiesce keeps MariaDB at a consistent point while its caller takes a snapshot. A process
// of its own has the locks, and systemd limits that process, so that the death of the agent or of
// the caller does not leave the server blocked. The agent's side is Manager; the process's side
// is Run, which `understudy-agent quiesce SOCKET` calls.
package quiesce

import (
	"time"

	"github.com/understudy-db/understudy/agent/internal/mariadb"
)

// Mode is how a point is made consistent.
type Mode string

// The modes.
const (
	// Online blocks commits; MariaDB continues to serve reads.
	Online Mode = "online"
	// Offline stops MariaDB cleanly and starts it again.
	Offline Mode = "offline"
	// Crash takes no lock and relies on crash recovery.
	Crash Mode = "crash"
)

// Spec says how to quiesce.
type Spec struct {
	Mode Mode `json:"mode"`
	// Limit is the hard limit, counted from the first lock.
	Limit time.Duration `json:"limit"`
	// LockWait is the longest wait for one lock.
	LockWait time.Duration `json:"lock_wait"`
	// Nonce is written onto the volume before the first lock.
	Nonce string `json:"nonce"`
	// Freeze freezes the filesystem as well.
	Freeze bool `json:"freeze"`
	// Job is whose session it is; empty for an operator.
	Job string `json:"job,omitempty"`
	// AdoptWithin is how long MariaDB stays quiesced while the agent has no caller, for the same
	// job to adopt the session; without it the session ends with its caller, and with its agent.
	AdoptWithin time.Duration `json:"adopt_within,omitempty"`
}

// outlives says that the session may go on without its caller and without its agent.
func (s Spec) outlives() bool { return s.AdoptWithin > 0 }

// answerTime is longer than a process takes from the word to resume to its answer, with the proof
// and in the mode offline MariaDB's start.
func (s Spec) answerTime() time.Duration {
	if s.Mode == Offline {
		return filesTime + restartTime + offlineStop
	}
	return filesTime
}

// of says that the session is this one: the job's, under this nonce.
func (s Spec) of(job, nonce string) bool { return s.Job == job && s.Nonce == nonce }

// Result says how a session ended.
type Result struct {
	// Unbroken is true when the session was proved unbroken until it resumed; BrokenReason says
	// why it was not.
	Unbroken     bool   `json:"unbroken"`
	BrokenReason string `json:"broken_reason"`
	// Blocked, Frozen and Down are how long commits were blocked, the filesystem frozen, MariaDB
	// down.
	Blocked time.Duration `json:"blocked"`
	Frozen  time.Duration `json:"frozen"`
	Down    time.Duration `json:"down"`
	// After are the positions after the snapshot.
	After mariadb.Positions `json:"after"`
}
