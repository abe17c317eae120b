package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Request asks for a new job.
type Request struct {
	Kind      string
	Title     string   // default: the plan's
	Args      any      // encoded as JSON, at most 32 KiB; must not hold a secret
	Subjects  []string // what the job changes, as "servers/x"; at most one active job each
	RequestID string   // idempotency key; empty: every call makes a job
	Who       string   // who asks, as the audit log names them
}

// ChangeRequest is a request on a job that is there: retry, redo, skip, cancel or clean up.
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

const (
	maxArgs  = 32 << 10
	maxID    = 128 // bytes of a request id or a subject
	maxTitle = 250 // bytes of a title or of who asks
)

// hash is the digest of what was asked for, without who asked and under which id.
func (r Request) hash(args json.RawMessage) string {
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

func (r Request) encode() (json.RawMessage, error) {
	args, err := json.Marshal(r.Args)
	if err != nil {
		return nil, invalid("args", "correct the request", "cannot encode the arguments: %v", err)
	}
	if len(args) > maxArgs {
		return nil, invalid("args", "ask for less at a time",
			"the arguments take %d bytes, more than %d", len(args), maxArgs)
	}
	return args, nil
}

// check refuses what the records cannot hold.
func (r Request) check() error {
	if err := checkText("title", r.Title, maxTitle); err != nil {
		return err
	}
	for _, s := range r.Subjects {
		if s == "" {
			return invalid("subjects", "name the resource", "a subject is empty")
		}
		if err := checkText("subjects", s, maxID); err != nil {
			return err
		}
	}
	return checkRequester(r.RequestID, r.Who)
}

func (r ChangeRequest) check() error {
	for field, value := range map[string]string{"confirm.name": r.Confirm.Name,
		"confirm.etag": r.Confirm.Etag} {
		if err := checkText(field, value, maxID); err != nil {
			return err
		}
	}
	return checkRequester(r.RequestID, r.Who)
}

func checkRequester(requestID, who string) error {
	if err := checkText("request_id", requestID, maxID); err != nil {
		return err
	}
	return checkText("who", who, maxTitle)
}

func checkText(field, value string, limit int) error {
	switch {
	case strings.ContainsFunc(value, unicode.IsControl) || !utf8.ValidString(value):
		return invalid(field, "use printable characters",
			"%s must hold printable characters, not %q", field, clip(value, maxID))
	case len(value) > limit:
		return invalid(field, "use a shorter value", "%s must have at most %d bytes, not %d",
			field, limit, len(value))
	}
	return nil
}

func (r Request) normal() Request {
	r.Subjects = slices.Compact(slices.Sorted(slices.Values(r.Subjects)))
	return r
}
