package chassis

import (
	"context"
	"log/slog"
	"regexp"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
)

// requestIDHeader carries the id under which both sides log a call.
const requestIDHeader = "x-request-id"

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,128}$`)

// call is what the chassis knows of a call under way.
type call struct {
	requestID string
	draining  <-chan struct{}
	attrs     []slog.Attr // of the call's line in the log
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// RequestID is the id of the call that ctx belongs to, or "".
func RequestID(ctx context.Context) string {
	if c := callOf(ctx); c != nil {
		return c.requestID
	}
	return ""
}

// Annotate adds attributes to the log line of the call that ctx belongs to; those of an earlier
// message of the same stream are replaced.
func Annotate(ctx context.Context, attrs ...slog.Attr) {
	if c := callOf(ctx); c != nil {
		c.attrs = attrs
	}
}

// Draining is closed when the server begins to stop, so that a stream without an end of its own (a
// watch) can end in order. It is nil, and blocks for ever, outside a call.
func Draining(ctx context.Context) <-chan struct{} {
	if c := callOf(ctx); c != nil {
		return c.draining
	}
	return nil
}

// incomingID is the caller's request id, or a new one.
func incomingID(ctx context.Context) string {
	for _, id := range metadata.ValueFromIncomingContext(ctx, requestIDHeader) {
		if requestIDPattern.MatchString(id) {
			return id
		}
	}
	return uuid.NewString()
}
