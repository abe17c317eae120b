package replication

import (
	"fmt"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Code names a kind of finding.
type Code string

// The codes. docs/health.md says what is true for each of them.
const (
	MariaDBDown           Code = "MARIADB_DOWN"
	VolumeReadOnly        Code = "VOLUME_READ_ONLY"
	VolumeFull            Code = "VOLUME_FULL"
	VolumeHangs           Code = "VOLUME_HANGS"
	VolumeLost            Code = "VOLUME_LOST"
	ReplicationStopped    Code = "REPLICATION_STOPPED"
	ReplicationConnecting Code = "REPLICATION_CONNECTING"
	ReplicationRefused    Code = "REPLICATION_REFUSED"
	ReplicationIDTaken    Code = "SERVER_ID_TAKEN"
	ReplicationBroken     Code = "REPLICATION_BROKEN"
	ReplicationHangs      Code = "REPLICATION_HANGS"
	ReplicationStill      Code = "REPLICATION_STANDS_STILL"
	ReplicationSettings   Code = "REPLICATION_SETTINGS"
	BinlogsPurged         Code = "BINLOGS_PURGED"
	Settings              Code = "SETTINGS"
	LossySettings         Code = "LOSSY_SETTINGS"
	WrongClock            Code = "WRONG_CLOCK"
	ErrantTransactions    Code = "ERRANT_TRANSACTIONS"
	LineageBroken         Code = "LINEAGE_BROKEN"
	DataDiffers           Code = "DATA_DIFFERS"
	DataUnproved          Code = "DATA_UNPROVED"
	AgentSilent           Code = "AGENT_SILENT"
	FactsOld              Code = "FACTS_OLD"
	UnitUnknown           Code = "UNIT_UNKNOWN"
	CallHangs             Code = "CALL_HANGS"
	NotResumed            Code = "NOT_RESUMED"
	CertificateExpires    Code = "CERTIFICATE_EXPIRES"
	AgentCertificate      Code = "AGENT_CERTIFICATE"
	AccessOpen            Code = "ACCESS_OPEN"
	MarksUnread           Code = "MARKS_UNREAD"
)

// Finding is one reason why a server does not do what its role says.
type Finding struct {
	Code Code
	// Text says it in one line.
	Text string
	// Errors are MariaDB's or systemd's own, word for word.
	Errors []string
	// Hint is what helps; empty when nothing is known to.
	Hint errs.Hint
	// Unproves says that changes may be missing, also once it is over.
	Unproves bool
}

type findings []Finding

// unproves marks the latest finding, if it is one.
func (all findings) unproves(bad bool) {
	if bad {
		all[len(all)-1].Unproves = true
	}
}

// helps gives the latest finding a hint.
func (all findings) helps(hint errs.Hint) { all[len(all)-1].Hint = hint }

func (all *findings) add(bad bool, code Code, format string, args ...any) {
	if bad {
		*all = append(*all, Finding{Code: code, Text: fmt.Sprintf(format, args...)})
	}
}
