package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Request asks for a new job. Its texts were checked where they came in.
type Request struct {
	Kind      string
	Title     string   // default: the plan's
	Args      any      // encoded as JSON; must not hold a secret
	Subjects  []string // what the job changes, as "servers/x"; at most one active job each
	RequestID string   // idempotency key; empty: every call makes a job
	// Asked is what a repeat under the request id must equal, where Args hold more than was asked
	// for; default the whole request.
	Asked any
	Who   string // who asks, as the audit log names them
}

// ChangeRequest is a request on a job that is there: retry, redo, skip, cancel or clean up.
// Its texts were checked where they came in.
type ChangeRequest struct {
	Who       string  // who asks, as the audit log names them
	Reason    string  // why, for the audit log; required to skip
	RequestID string  // idempotency key; empty: every call is a request of its own
	Confirm   Confirm // of a request that deletes data; see Plan.Guard
}

// Confirm names the data that an operator agrees to lose. The plan's guard decides what it must
// hold.
type Confirm struct {
	Name string // of the resource whose data goes
	Etag string // of that resource, as the operator saw it
}

// hash is the digest of what was asked for, without who asked and under which id.
func (r Request) hash(args json.RawMessage) string {
	if r.Asked != nil {
		return digest(r.Kind, r.Asked)
	}
	return digest(r.Kind, r.Title, args, r.Subjects)
}

func digest(parts ...any) string {
	body, err := json.Marshal(parts)
	if err != nil {
		panic(fmt.Sprintf("job: cannot encode strings: %v", err)) // args are valid JSON by now
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (r Request) normal() Request {
	r.Subjects = slices.Compact(slices.Sorted(slices.Values(r.Subjects)))
	return r
}
