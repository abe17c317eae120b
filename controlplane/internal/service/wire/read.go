package wire

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

const (
	serverPrefix   = "servers/"
	snapshotPrefix = "snapshots/"
	jobPrefix      = "jobs/"
)

// ID takes the id out of a resource's name, "servers/{server}"; it is empty for an empty name. The
// limits of the field have checked the name.
func ID(name string) string {
	_, id, _ := strings.Cut(name, "/")
	return id
}

// RequestID is an idempotency key as it is kept, so that two spellings of one UUID are one.
func RequestID(id string) string { return strings.ToLower(id) }

// Range is the time that a list is narrowed to: from after on and before before. A zero time does
// not narrow.
type Range struct{ After, Before time.Time }

// RangeOf reads a range of time.
func RangeOf(after, before *timestamppb.Timestamp) (r Range) {
	if after != nil {
		r.After = after.AsTime()
	}
	if before != nil {
		r.Before = before.AsTime()
	}
	return r
}

// Who is the caller, as the audit names them.
func Who(ctx context.Context) string { return identity.PeerOf(ctx).Identity.String() }
