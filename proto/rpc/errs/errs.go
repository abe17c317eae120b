package errs

import (
	"context"
	"errors"
	"maps"
	"time"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Error is an error with a kind. Make one with New; read one with KindOf, ReasonOf, HintOf,
// MetaOf, FieldsOf, RetryOf.
type Error struct {
	kind     Kind
	reason   errorsv1.Reason
	rawName  string // reason as a newer peer spelt it, where this version has no word for it
	message  string
	hint     Hint
	meta     map[string]string
	fields   []FieldViolation
	unmet    []Unmet
	retry    time.Duration
	hasRetry bool
	cause    error
}

// FieldViolation names a field of the request by its path and says what is wrong with it.
type FieldViolation struct{ Field, Why string }

// Unmet is one precondition that does not hold: of what, and what is wrong.
type Unmet struct{ Subject, Why string }

// Option adds to an error in New.
type Option func(*Error)

// New makes an error of the kind. The message reads like `cannot mount volume vol-1: no device with
// its serial after 30s`: lower case, from the outside in, no secrets. REASON_UNSPECIFIED takes the
// reason of a wrapped error, else the kind's own.
func New(kind Kind, reason errorsv1.Reason, message string, options ...Option) *Error {
	e := &Error{kind: kind, reason: reason, message: message}
	for _, option := range options {
		option(e)
	}
	seen(e)
	return e
}

// WithHint says what the caller can do now: an instruction, and the calls that carry it out.
func WithHint(text string, actions ...Action) Option {
	return func(e *Error) { e.hint = Hint{Text: text, Actions: actions} }
}

// Meta adds a fact that programs may read. Keys are lower_snake_case; a value is never a secret.
func Meta(key, value string) Option {
	return func(e *Error) {
		if e.meta == nil {
			e.meta = map[string]string{}
		}
		e.meta[key] = value
	}
}

// Field names a field of the request that is wrong, and why.
func Field(name, why string) Option {
	return func(e *Error) { e.fields = append(e.fields, FieldViolation{Field: name, Why: why}) }
}

// Precondition names a thing, for example "units/mariadb.service", whose state does not allow the
// call, and why.
func Precondition(subject, why string) Option {
	return func(e *Error) { e.unmet = append(e.unmet, Unmet{Subject: subject, Why: why}) }
}

// Retry says after how long the same call is worth another try.
func Retry(after time.Duration) Option {
	return func(e *Error) { e.retry, e.hasRetry = after, true }
}

// Wrap keeps the cause: its text follows the message, and errors.Is and errors.As see it on this
// side of the wire.
func Wrap(cause error) Option {
	return func(e *Error) { e.cause = cause }
}

// Error is the message and its causes, without the hint.
func (e *Error) Error() string {
	switch {
	case e.cause == nil:
		return e.message
	case e.message == "":
		return e.cause.Error()
	default:
		return e.message + ": " + e.cause.Error()
	}
}

// Unwrap is the cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Is holds for the error's own kind, and for the context error of the same meaning.
func (e *Error) Is(target error) bool {
	if kind, ok := target.(Kind); ok {
		return e.kind == kind
	}
	return target == context.DeadlineExceeded && e.kind == DeadlineExceeded ||
		target == context.Canceled && e.kind == Canceled
}

// KindOf is the kind of err: that of the outermost *Error or gRPC status in it, DeadlineExceeded
// and Canceled for context errors, Internal for any other. It must not be asked about nil.
func KindOf(err error) Kind { return read(err).kind }

// ReasonOf is the outermost reason in err; the kind's own when none was given.
func ReasonOf(err error) errorsv1.Reason { return read(err).reason }

// HintOf is the outermost hint in err; the empty one when there is none.
func HintOf(err error) Hint { return read(err).hint }

// MetaOf is all metadata in err, outer values before inner ones; never nil.
func MetaOf(err error) map[string]string { return read(err).meta }

// FieldsOf is the field violations of the outermost *Error that has any.
func FieldsOf(err error) []FieldViolation { return read(err).fields }

// PreconditionsOf is the unmet preconditions of the outermost *Error that has any.
func PreconditionsOf(err error) []Unmet { return read(err).unmet }

// RetryOf is the time after which another try is worth it, and whether err says one.
func RetryOf(err error) (time.Duration, bool) {
	e := read(err)
	return e.retry, e.hasRetry
}

// read flattens a chain: the kind of the outermost, and each fact from the outermost error that
// states it.
func read(err error) *Error {
	flat := &Error{meta: map[string]string{}}
	outermost := true
	for e := find(err); e != nil; e = find(e.cause) {
		if outermost {
			flat.kind, outermost = e.kind, false
		}
		flat.inherit(e)
	}
	if outermost {
		flat.kind = plainKind(err)
		if NoRoom(err) {
			flat.reason = errorsv1.Reason_REASON_DISK_FULL
			flat.hint.Text = "make room on that filesystem, or grow it"
		}
	}
	if flat.reason == errorsv1.Reason_REASON_UNSPECIFIED && flat.rawName == "" {
		flat.reason = flat.kind.defaultReason()
	}
	return flat
}

// inherit takes from an inner error what is not known yet.
func (e *Error) inherit(inner *Error) {
	if e.reason == errorsv1.Reason_REASON_UNSPECIFIED && e.rawName == "" {
		e.reason, e.rawName = inner.reason, inner.rawName
	}
	if e.hint.Empty() {
		e.hint = inner.hint
	}
	if e.fields == nil {
		e.fields = inner.fields
	}
	if e.unmet == nil {
		e.unmet = inner.unmet
	}
	if !e.hasRetry {
		e.retry, e.hasRetry = inner.retry, inner.hasRetry
	}
	known := maps.Clone(e.meta)
	maps.Copy(e.meta, inner.meta)
	maps.Copy(e.meta, known)
}

// find is the outermost *Error in a chain; a gRPC status counts as one.
func find(err error) *Error {
	var e *Error
	if err == nil {
		return nil
	}
	if errors.As(err, &e) {
		return e
	}
	return decode(err)
}

// plainKind is the kind of an error that this package knows nothing about.
func plainKind(err error) Kind {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	case NoRoom(err):
		return FailedPrecondition
	default:
		return Internal
	}
}
