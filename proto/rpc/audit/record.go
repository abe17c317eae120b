// Package audit is the log of changing calls: its records, the chain of hashes that they form, and
// what a server does with them before and after a call. docs/audit.md says why.
package audit

import (
	"encoding/json"
	"fmt"
	"time"
)

// Kind is what a record is about.
type Kind string

// The kinds of records.
const (
	// Begin is a call that was allowed and is about to run.
	Begin Kind = "begin"
	// End is the outcome of the call whose record Of names.
	End Kind = "end"
	// Refused is a call that was refused before it ran.
	Refused Kind = "refused"
	// LeftOut is a number of refused calls that were too many to be recorded one by one.
	LeftOut Kind = "left_out"
	// Fetched says that the control plane keeps the records of an agent's chain up to Through.
	Fetched Kind = "fetched"
	// Pruned says that the records up to Through were removed because they were old.
	Pruned Kind = "pruned"
)

// Record is one entry. Empty fields do not apply to its kind.
type Record struct {
	// Seq counts the records of a chain, from 1.
	Seq int64 `json:"seq"`
	// Prev is the hash of the record before it, or the chain's Origin.
	Prev string `json:"prev"`
	// Time is when it was written, by the clock of the host.
	Time time.Time `json:"time"`
	// Kind says what it is about.
	Kind Kind `json:"kind"`
	// Who called: an identity's URI, or "anonymous".
	Who string `json:"who,omitempty"`
	// Serial is that of the caller's certificate.
	Serial string `json:"serial,omitempty"`
	// Address is where the call came from.
	Address string `json:"address,omitempty"`
	// Method is the full name of what was called.
	Method string `json:"method,omitempty"`
	// RequestID is the id of the call in the logs of both ends.
	RequestID string `json:"request_id,omitempty"`
	// Grant is the id of the grant under which an operator makes the call on an agent.
	Grant string `json:"grant,omitempty"`
	// Parameters are those of the call: see Parameters.
	Parameters json.RawMessage `json:"parameters,omitempty"`
	// Of is the Seq of the call's Begin.
	Of int64 `json:"of,omitempty"`
	// Code is the outcome: "OK", or the code of the error.
	Code string `json:"code,omitempty"`
	// Reason is that of the error.
	Reason string `json:"reason,omitempty"`
	// Error is the text of the error.
	Error string `json:"error,omitempty"`
	// Count is how many calls were left out, or records pruned.
	Count int64 `json:"count,omitempty"`
	// Since is when the first call that was left out came.
	Since time.Time `json:"since,omitzero"`
	// Chain is the chain that was fetched or pruned.
	Chain string `json:"chain,omitempty"`
	// Through is the last record that was fetched or pruned, and Hash its hash.
	Through int64  `json:"through,omitempty"`
	Hash    string `json:"hash,omitempty"`
}

// Line is a record as it is kept and exported: the bytes that were hashed, with their hash.
type Line struct {
	Hash   string          `json:"hash"`
	Record json.RawMessage `json:"record"`
}

// Whole says whether the hash is that of the record.
func (l Line) Whole() bool { return sum(l.Record) == l.Hash }

// Text is the line as it is exported. Its bytes are those that were hashed, also when somebody made
// something else than JSON of them.
func (l Line) Text() string { return fmt.Sprintf(`{"hash":%q,"record":%s}`, l.Hash, l.Record) }

// Read is the record of a line.
func (l Line) Read() (r Record, err error) {
	err = json.Unmarshal(l.Record, &r)
	return r, err
}
