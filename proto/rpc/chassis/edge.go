package chassis

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// edge is the outermost middleware: it names the call, turns its error into a status, and
// logs it, once.
type edge struct {
	logger    *slog.Logger
	metrics   *metrics
	draining  <-chan struct{}
	strangers *sparing
}

func newEdge(config Config, draining <-chan struct{}, strangers *sparing) (*edge, error) {
	m, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, err
	}
	return &edge{logger: config.Logger, metrics: m, draining: draining,
		strangers: strangers}, nil
}

// around names the call, and hands its caller the id under which it is logged.
func (e *edge) around(ctx context.Context, call about, next handler) error {
	ctx, began := e.begin(ctx), time.Now()
	// The only error is that headers were sent, which cannot be here.
	_ = call.setHeader(metadata.Pairs(requestIDHeader, RequestID(ctx)))
	return e.end(ctx, call.method, began, next(ctx))
}

func (e *edge) begin(ctx context.Context) context.Context {
	return context.WithValue(ctx, callKey{},
		&call{requestID: incomingID(ctx), draining: e.draining})
}

// end logs the call with the error as it was, and answers with the error as the caller gets it.
func (e *edge) end(ctx context.Context, method string, began time.Time, err error) error {
	took := time.Since(began)
	err = errs.FromStatus(err)
	e.metrics.observe(method, err, took)
	e.log(ctx, method, took, err)
	if err == nil {
		return nil
	}
	message := ""
	if identity.PeerOf(ctx).Identity.Role == identity.RoleAnonymous &&
		errs.KindOf(err) == errs.Internal {
		// Anonymous callers get no internal details.
		err, message = nil, "internal error"
	}
	options := []errs.Option{errs.Wrap(err), errs.Meta("request_id", RequestID(ctx))}
	if way := hint(kindOr(err, errs.Internal), RequestID(ctx)); err == nil ||
		errs.HintOf(err).String() == "" {
		options = append(options, errs.WithHint(way))
	}
	return errs.ToStatus(errs.New(kindOr(err, errs.Internal), errorsv1.Reason_REASON_UNSPECIFIED,
		message, options...))
}

// hint is the hint for an error that has none.
func hint(kind errs.Kind, requestID string) string {
	switch kind {
	case errs.Internal, errs.Unknown:
		return "retry; if it fails again, find request " + requestID + " in the server's log"
	case errs.DeadlineExceeded:
		return "check what was done, then retry with a longer timeout"
	case errs.Canceled, errs.Unavailable, errs.Aborted:
		return "retry"
	case errs.Unimplemented:
		return "install the same version on both sides"
	default:
		return ""
	}
}

func kindOr(err error, fallback errs.Kind) errs.Kind {
	if err == nil {
		return fallback
	}
	return errs.KindOf(err)
}

func (e *edge) log(ctx context.Context, method string, took time.Duration, err error) {
	attrs := []slog.Attr{
		slog.String("method", method), slog.String("code", codeOf(err)),
		slog.Duration("duration", took),
		slog.String("request_id", RequestID(ctx)), slog.String("peer", peerName(ctx)),
	}
	attrs = append(attrs, callOf(ctx).attrs...)
	level, text := slog.LevelDebug, "call"
	if err != nil {
		level = levelOf(errs.KindOf(err))
		attrs = append(attrs, slog.Any("error", err))
	}
	switch identity.PeerOf(ctx).Identity.Role {
	case identity.RoleAnonymous:
		if err != nil && level < slog.LevelError && !e.strangers.may() {
			return
		}
	case identity.RoleBreakGlass:
		level, text = max(level, slog.LevelWarn), "break-glass call"
	}
	e.logger.LogAttrs(ctx, level, text, attrs...)
}

func levelOf(kind errs.Kind) slog.Level {
	switch kind {
	case errs.Internal, errs.Unknown, errs.DataLoss:
		return slog.LevelError
	case errs.Unavailable, errs.DeadlineExceeded, errs.ResourceExhausted:
		return slog.LevelWarn
	default: // the caller's mistake, or its own decision
		return slog.LevelInfo
	}
}

func codeOf(err error) string {
	if err == nil {
		return "OK"
	}
	return errs.KindOf(err).String()
}

// peerName is who called, with the address when it has no certificate.
func peerName(ctx context.Context) string {
	p := identity.PeerOf(ctx)
	switch p.Identity.Role {
	case identity.RoleAnonymous, identity.RoleBreakGlass:
		return fmt.Sprintf("%s %s", p.Identity, p.Address)
	}
	return p.Identity.String()
}

// recovering turns a panic of a handler into an error.
func recovering(ctx context.Context, _ about, next handler) (err error) {
	defer recovered(&err)
	return next(ctx)
}

// panicError keeps the stack for the log and away from the caller.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// LogValue is the panic with its stack.
func (p *panicError) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprintf("panic: %v\n%s", p.value, p.stack))
}

func recovered(err *error) {
	if value := recover(); value != nil {
		*err = &panicError{value: value, stack: debug.Stack()}
	}
}
