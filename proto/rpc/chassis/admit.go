package chassis

import (
	"context"
	"log/slog"
)

// Admit says whether a call may go on, before its requests are looked into. It refuses it with an
// error, or gives the context that it goes on with, and what to call once it is over. A call whose
// context ends before its caller's fails with the cause of that.
type Admit func(ctx context.Context, method string) (within context.Context, leave func(),
	err error)

func (a Admit) around(ctx context.Context, call about, next handler) error {
	if a == nil {
		return next(ctx)
	}
	within, leave, err := a(ctx, call.method)
	if err != nil {
		return err
	}
	defer leave()
	err = next(within)
	if ctx.Err() == nil && within.Err() != nil && (err != nil || call.stream) {
		return context.Cause(within)
	}
	return err
}

// NoteGrant has the call that ctx belongs to say in the audit, and in its line in the log, under
// which grant it is made.
func NoteGrant(ctx context.Context, id string) {
	if r, ok := ctx.Value(recordingKey{}).(*recording); ok {
		r.call.Grant = id
	}
	Annotate(ctx, slog.String("grant", id))
}
