package chassis

import "context"

// WithRequestID is the context of a call with that id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callKey{}, &call{requestID: id})
}
