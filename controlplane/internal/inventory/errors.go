package inventory

import (
	"errors"
	"fmt"
)

// Kinds of refusal. Match with errors.Is.
var (
	// ErrInvalid means that a value is wrong by itself.
	ErrInvalid = errors.New("invalid")
	// ErrPrecondition means that the record's state forbids the change.
	ErrPrecondition = errors.New("not possible as things stand")
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrExists means that a record of that name is there already.
	ErrExists = errors.New("already exists")
	// ErrStale means that the record changed since it was read.
	ErrStale = errors.New("changed since it was read")
	// ErrDenied means that the caller has no right to it: a token that is spent, expired or another
	// server's.
	ErrDenied = errors.New("not allowed")
)

// Reason tells refusals apart for machines.
type Reason string

// The reasons of refusals.
const (
	// BadName is a name that ValidateName refuses.
	BadName Reason = "BAD_NAME"
	// AutoPurgeOnReplica is binlog auto purge asked for on a replica.
	AutoPurgeOnReplica Reason = "AUTO_PURGE_ON_REPLICA"
	// AutoPurgeOnPrimaryWithReplicas is binlog auto purge asked for on a primary that has replicas.
	AutoPurgeOnPrimaryWithReplicas Reason = "AUTO_PURGE_ON_PRIMARY_WITH_REPLICAS"
	// RoleForbids is a role change that the server's role does not allow.
	RoleForbids Reason = "ROLE_FORBIDS"
	// StateForbids is a change that the record's state does not allow.
	StateForbids Reason = "STATE_FORBIDS"
	// ServerIDTaken is a server_id that another server has or had.
	ServerIDTaken Reason = "SERVER_ID_TAKEN"
	// SnapshotNotUsable is a snapshot that is not READY or has no testimony.
	SnapshotNotUsable Reason = "SNAPSHOT_NOT_USABLE"
	// TokenSpent is a join token used by another key.
	TokenSpent Reason = "TOKEN_SPENT"
	// TokenExpired is a join token past its end.
	TokenExpired Reason = "TOKEN_EXPIRED"
	// TokenForOther is a join token made for another server.
	TokenForOther Reason = "TOKEN_FOR_OTHER"
	// MissingRecord is a record that is not there.
	MissingRecord Reason = "MISSING_RECORD"
	// TakenName is a name that another record has.
	TakenName Reason = "TAKEN_NAME"
	// StaleRecord is a record that changed since it was read.
	StaleRecord Reason = "STALE_RECORD"
	// BadPage is a page size or page token that cannot be used.
	BadPage Reason = "BAD_PAGE"
)

// Refusal is a change that was turned down: the cause, and the hint.
type Refusal struct {
	Kind  error  // one of the package's errors
	Code  Reason // for machines
	Cause string // what is wrong, and where
	Way   string // what to do
}

// Error says the cause, then the hint.
func (r *Refusal) Error() string {
	if r.Way == "" {
		return r.Cause
	}
	return r.Cause + ": " + r.Way
}

// Unwrap returns the kind of refusal, for errors.Is.
func (r *Refusal) Unwrap() error { return r.Kind }

// Reason returns the code as text.
func (r *Refusal) Reason() string { return string(r.Code) }

// Hint says what to do.
func (r *Refusal) Hint() string { return r.Way }

// Refuse makes a Refusal; the format and its arguments give the cause.
func Refuse(kind error, code Reason, way, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Code: code, Cause: fmt.Sprintf(format, args...), Way: way}
}
