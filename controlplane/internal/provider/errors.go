package provider

import (
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// What callers decide by, for errors.Is.
var (
	// ErrNotFound says that there is nothing by that ID or name.
	ErrNotFound = errors.New("not found")
	// ErrIncorrectState says that the thing's present state forbids the call.
	ErrIncorrectState = errors.New("incorrect state")
	// ErrInUse says that another one has it; HeldBy says who.
	ErrInUse = errors.New("in use")
	// ErrThrottled says that the call may be repeated after RetryAfter.
	ErrThrottled = errors.New("throttled")
	// ErrExpired says that the provider refuses requests for their date: a clock is wrong, or
	// credentials that are good for a time have expired. The call may be repeated after
	// RetryAfter.
	ErrExpired = errors.New("expired")
	// ErrLimitExceeded says that the provider has no more room or quota.
	ErrLimitExceeded = errors.New("limit exceeded")
	// ErrInvalid says that the request can never work as it is.
	ErrInvalid = errors.New("invalid request")
	// ErrDenied says that the control plane's credentials do not allow the call.
	ErrDenied = errors.New("not allowed")
	// ErrRefused says that an operator was asked and will not do it.
	ErrRefused = errors.New("refused by an operator")
	// ErrEnded says that what the client token made has been terminated or deleted, by whomever.
	ErrEnded = errors.New("what the client token made has ended")
	// ErrTokenReused says that the client token was used with other parameters.
	ErrTokenReused = errors.New("client token used with different parameters")
)

// meaning is what one of these errors is to those who do not know this package.
type meaning struct {
	kind   errs.Kind
	reason errorsv1.Reason
	hint   errs.Option
}

var listObjects = errs.Call("ListObjects")

var meanings = map[error]meaning{
	ErrNotFound: {errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND,
		errs.WithHint("list what there is", listObjects, errs.Call("ListImages"))},
	ErrIncorrectState: {errs.FailedPrecondition, errorsv1.Reason_REASON_PROVIDER_ERROR,
		errs.WithHint("repair what these show, then retry", errs.Call("CheckProvider"),
			listObjects)},
	ErrInUse: {errs.FailedPrecondition, errorsv1.Reason_REASON_VOLUME_ATTACHED_ELSEWHERE,
		errs.WithHint("detach it there first; the list shows where it is", listObjects)},
	ErrThrottled: {errs.Unavailable, errorsv1.Reason_REASON_PROVIDER_THROTTLED,
		errs.WithHint("wait: it is tried again")},
	ErrExpired: {errs.Unavailable, errorsv1.Reason_REASON_PROVIDER_ERROR,
		errs.WithHint("set the clock of the control plane's host with NTP, or renew its " +
			"credentials: it is tried again")},
	ErrLimitExceeded: {errs.ResourceExhausted, errorsv1.Reason_REASON_QUOTA_EXCEEDED,
		errs.WithHint("remove what jobs left behind, or have the limit raised",
			errs.Call("SweepProvider"))},
	ErrInvalid: {errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD,
		errs.WithHint("correct it, and ask again")},
	ErrDenied: {errs.FailedPrecondition, errorsv1.Reason_REASON_PROVIDER_ERROR,
		errs.WithHint("give the control plane's credentials this right; the check tries all that "+
			"it needs", errs.Call("CheckProvider"))},
	ErrRefused: {errs.FailedPrecondition, errorsv1.Reason_REASON_ACTION_REQUIRED,
		errs.WithHint("settle it with whoever refused, then retry the job: an operator is asked " +
			"again")},
	ErrEnded: {errs.FailedPrecondition, errorsv1.Reason_REASON_MACHINE_GONE,
		errs.WithHint("redo the step that makes the machine: it makes another")},
	ErrTokenReused: {errs.FailedPrecondition, errorsv1.Reason_REASON_PROVIDER_ERROR,
		errs.WithHint("redo the step: it is done under another token")},
}

const (
	holder       = "held_by"
	expiredPause = 10 * time.Second
)

// refusal carries the text, and shows to errors.Is and errors.As what the error is and why.
type refusal struct {
	text   string
	causes []error
}

func (r *refusal) Error() string   { return r.text }
func (r *refusal) Unwrap() []error { return r.causes }

// Errorf makes an error of package errs about the object of that id; is is one of the errors above,
// and %w verbs set causes.
func Errorf(is error, id, format string, args ...any) error {
	return newRefusal(is, format, args...).as(is, id)
}

// Because makes an error as Errorf does, whose cause is not part of the text.
func Because(cause, is error, id, format string, args ...any) error {
	r := newRefusal(is, format, args...)
	r.causes = append(r.causes, cause)
	return r.as(is, id)
}

// InUse is an ErrInUse that says who has the object.
func InUse(id, heldBy, format string, args ...any) error {
	r := newRefusal(ErrInUse, format, args...)
	return r.as(ErrInUse, id, errs.Meta(holder, heldBy))
}

// Throttled is an ErrThrottled that says how long to wait, at least a second.
func Throttled(cause error, after time.Duration, format string, args ...any) error {
	r := newRefusal(ErrThrottled, format, args...)
	if cause != nil {
		r.causes = append(r.causes, cause)
	}
	return r.as(ErrThrottled, "", errs.Retry(max(after, time.Second)))
}

// Expired is an ErrExpired that says how long to wait.
func Expired(cause error, format string, args ...any) error {
	r := newRefusal(ErrExpired, format, args...)
	r.causes = append(r.causes, cause)
	return r.as(ErrExpired, "", errs.Retry(expiredPause))
}

func newRefusal(is error, format string, args ...any) *refusal {
	wrapped := fmt.Errorf(format, args...)
	r := &refusal{text: wrapped.Error(), causes: []error{is}}
	if cause := errors.Unwrap(wrapped); cause != nil {
		r.causes = append(r.causes, cause)
	}
	return r
}

func (r *refusal) as(is error, id string, options ...errs.Option) error {
	m := meanings[is]
	options = append(options, errs.Wrap(r), m.hint)
	if id != "" {
		options = append(options, errs.Meta("object", id))
	}
	return errs.New(m.kind, m.reason, "", options...)
}

// HeldBy is who has the object that an ErrInUse is about; empty for other errors.
func HeldBy(err error) string {
	if !errors.Is(err, ErrInUse) {
		return ""
	}
	return errs.MetaOf(err)[holder]
}

// RetryAfter is how long an ErrThrottled or ErrExpired asks to wait; false for other errors.
func RetryAfter(err error) (time.Duration, bool) {
	if !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrExpired) {
		return 0, false
	}
	return errs.RetryOf(err)
}
