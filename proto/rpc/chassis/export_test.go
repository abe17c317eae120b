package chassis

import (
	"context"
	"log/slog"
)

// WithRequestID is the context of a call with that id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callKey{}, &call{requestID: id})
}

// Sparing says whether there is room for another line about a stranger.
func Sparing(log *slog.Logger) (may func() bool) { return newSparing(log).may }
