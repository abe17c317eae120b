package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
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

const maxArgs = 32 << 10

// hash is the digest of what was asked for, without who asked and under which id.
func (r Request) hash(args json.RawMessage) string {
	body, err := json.Marshal([]any{r.Kind, r.Title, args, r.Subjects, r.Parent})
	if err != nil {
		panic(fmt.Sprintf("job: cannot encode strings: %v", err)) // args are valid JSON by now
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (r Request) encode() (json.RawMessage, error) {
	args, err := json.Marshal(r.Args)
	if err != nil {
		return nil, refuse(ErrInvalid, "", "cannot encode the arguments of a %s job: %v", r.Kind, err)
	}
	if len(args) > maxArgs {
		return nil, refuse(ErrInvalid, "", "the arguments of a %s job take %d bytes, more than %d", r.Kind, len(args), maxArgs)
	}
	return args, nil
}

func (r Request) normal() Request {
	r.Subjects = slices.Compact(slices.Sorted(slices.Values(r.Subjects)))
	return r
}
