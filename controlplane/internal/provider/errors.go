package provider

import (
	"errors"
	"fmt"
	"time"
)

// The kinds of errors, for errors.Is.
var (
	// ErrNotFound says that there is nothing by that ID or name.
	ErrNotFound = errors.New("not found")
	// ErrIncorrectState says that the thing's present state forbids the call.
	ErrIncorrectState = errors.New("incorrect state")
	// ErrInUse says that somebody else has it; Error.HeldBy says who.
	ErrInUse = errors.New("in use")
	// ErrThrottled says that the call may be repeated after Error.RetryAfter.
	ErrThrottled = errors.New("throttled")
	// ErrLimitExceeded says that the provider has no more room or quota.
	ErrLimitExceeded = errors.New("limit exceeded")
	// ErrInvalid says that the request can never work as it is.
	ErrInvalid = errors.New("invalid request")
	// ErrDenied says that the control plane's credentials do not allow the call.
	ErrDenied = errors.New("not allowed")
	// ErrRefused says that a person was asked and will not do it.
	ErrRefused = errors.New("refused by a person")
	// ErrTokenReused says that the client token was used with other parameters.
	ErrTokenReused = errors.New("client token used with different parameters")
)

// Error is a refusal with its details. errors.Is sees its Kind and its cause.
type Error struct {
	// Kind is one of the Err variables of this package.
	Kind error
	// ID is the machine, volume, snapshot or image that the error is about.
	ID string
	// HeldBy is who has it, with ErrInUse.
	HeldBy string
	// RetryAfter is how long to wait, with ErrThrottled.
	RetryAfter time.Duration
	// Message is the whole sentence, with the hint.
	Message string
	// Cause may be nil.
	Cause error
}

// Errorf makes an Error about id; a %w verb sets its cause.
func Errorf(kind error, id, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, ID: id, Message: wrapped.Error(), Cause: errors.Unwrap(wrapped)}
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Hint says what a person can do, by the kind of error; the message may say more.
func (e *Error) Hint() string {
	switch e.Kind {
	case ErrNotFound: //nolint:errorlint // a Kind is one of these itself, never wrapped
		return "see what there is with `understudy provider objects` and `understudy provider " +
			"images`"
	case ErrInUse:
		return "let it go there first: `understudy provider objects` shows who has it"
	case ErrThrottled:
		return "wait: it is tried again by itself"
	case ErrLimitExceeded:
		return "remove what is not needed (`understudy provider sweep` shows what jobs left " +
			"behind), or have the limit raised"
	case ErrInvalid:
		return "correct it, and ask again"
	case ErrDenied:
		return "give the control plane's credentials this right; `understudy provider check` " +
			"tries all that it needs"
	case ErrRefused:
		return "clear up with whoever refused, then `understudy job retry JOB`: a person is " +
			"asked again"
	case ErrTokenReused:
		return "have the step done anew, under another token: `understudy job redo`"
	default:
		return "see `understudy provider check` and `understudy provider objects`; put right " +
			"what they show, then retry"
	}
}

// Unwrap shows kind and cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// HeldBy is who has the thing that an ErrInUse is about; empty for other errors.
func HeldBy(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.HeldBy
	}
	return ""
}

// RetryAfter is how long an ErrThrottled asks to wait; false for other errors.
func RetryAfter(err error) (time.Duration, bool) {
	var e *Error
	if errors.As(err, &e) && errors.Is(e.Kind, ErrThrottled) {
		return e.RetryAfter, true
	}
	return 0, false
}
