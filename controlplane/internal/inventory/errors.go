package inventory

import (
	"errors"
	"fmt"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// What callers decide by, for errors.Is. Everything else about a refusal is in package errs.
var (
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrStale means that the record changed since it was read: the store runs the transaction
	// again.
	ErrStale = errors.New("changed since it was read")
)

const staleRetry = time.Second

// marked is a text that errors.Is finds one of these errors in.
type marked struct {
	text string
	is   error
}

func (m marked) Error() string { return m.text }
func (m marked) Unwrap() error { return m.is }

// NotFound is an ErrNotFound.
func NotFound(hint errs.Option, format string, args ...any) error {
	return errs.New(errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND, "",
		errs.Wrap(marked{fmt.Sprintf(format, args...), ErrNotFound}), hint)
}

// Stale is an ErrStale about the record of that key.
func Stale(noun, key string) error {
	text := fmt.Sprintf("the %s %s changed since it was read", noun, key)
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH, "",
		errs.Wrap(marked{text, ErrStale}), errs.WithHint("read it again, then ask again"),
		errs.Retry(staleRetry))
}

// Taken says that another record has the key.
func Taken(noun, key, hint string) error {
	return errs.New(errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS,
		fmt.Sprintf("there is a %s %s already", noun, key), errs.WithHint(hint))
}

// refuse says that a rule of the records forbids a change.
func refuse(reason errorsv1.Reason, hint, format string, args ...any) error {
	return refuseAs(errs.FailedPrecondition, reason, errs.WithHint(hint), format, args...)
}

func refuseAs(kind errs.Kind, reason errorsv1.Reason, hint errs.Option, format string,
	args ...any) error {
	return errs.New(kind, reason, fmt.Sprintf(format, args...), hint)
}
