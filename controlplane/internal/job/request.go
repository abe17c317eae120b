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
	Subjects  []string // what the job changes, as "servers/x"; exclusive unless the plan repairs
	RequestID string   // idempotency key; empty: every call makes a job
	Who       string   // who asks, as the audit shall name them
	Parent    string   // job to wake when this one ends
}

// Ask is a request on a job that is there.
type Ask struct {
	Who       string // who asks, as the audit shall name them
	Reason    string // why, for the audit; required to skip
	RequestID string // idempotency key: the request last applied to the job is not applied again
}

const (
	maxArgs  = 32 << 10
	maxID    = 128 // bytes of a request id or a subject
	maxTitle = 250 // bytes of a title or of who asks
)

// hash is the digest of what was asked for, without who asked and under which id.
func (r Request) hash(args json.RawMessage) string {
	body, err := json.Marshal([]any{r.Kind, r.Title, args, r.Subjects, r.Parent})
	if err != nil {
		panic(fmt.Sprintf("job: cannot encode strings: %v", err)) // args are valid JSON by now
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (a Ask) check() error {
	return Request{Kind: "changed", RequestID: a.RequestID, Who: a.Who}.check()
}

func (r Request) encode() (json.RawMessage, error) {
	args, err := json.Marshal(r.Args)
	if err != nil {
		return nil, refuse(ErrInvalid, "correct the request",
			"cannot encode the arguments of a %s job: %v", r.Kind, err)
	}
	if len(args) > maxArgs {
		return nil, refuse(ErrInvalid, "ask for less at a time",
			"the arguments of a %s job take %d bytes, more than %d", r.Kind, len(args), maxArgs)
	}
	return args, nil
}

// check refuses what the records cannot hold.
func (r Request) check() error {
	for _, text := range append([]string{r.Title, r.RequestID, r.Who, r.Parent}, r.Subjects...) {
		if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
			return refuse(ErrInvalid, "leave out what is not text",
				"%q of a %s job has characters that cannot be shown", clip(text, maxID), r.Kind)
		}
	}
	switch {
	case len(r.RequestID) > maxID:
		return refuse(ErrInvalid, "use a UUID",
			"the request id of a %s job has %d bytes, more than %d", r.Kind, len(r.RequestID),
			maxID)
	case len(r.Title) > maxTitle || len(r.Who) > maxTitle:
		return refuse(ErrInvalid, "use shorter ones",
			"title and asker of a %s job may have %d bytes each", r.Kind, maxTitle)
	}
	for _, s := range r.Subjects {
		if s == "" || len(s) > maxID {
			return refuse(ErrInvalid, "use a shorter name",
				"a subject of a %s job has %d bytes, want 1 to %d", r.Kind, len(s), maxID)
		}
	}
	return nil
}

func (r Request) normal() Request {
	r.Subjects = slices.Compact(slices.Sorted(slices.Values(r.Subjects)))
	return r
}
