package kit

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Refuse makes the error of a step that must not go on as things stand.
func Refuse(reason errorsv1.Reason, hint errs.Hint, format string, args ...any) error {
	return errs.New(errs.FailedPrecondition, reason, Sprintf(format, args...),
		errs.WithHint(hint.Text, hint.Actions...))
}

// explain marks an error that no further attempt can repair.
func explain(err error) error {
	if Permanent(err) {
		return job.Permanent(err)
	}
	return err
}

// ends are errors that no further attempt can repair; passing are those that one can, whatever
// their kind.
var (
	ends = []error{inventory.ErrNotFound, provider.ErrInvalid, provider.ErrTokenReused,
		provider.ErrLimitExceeded, provider.ErrDenied, provider.ErrRefused}
	passing = []error{inventory.ErrStale, provider.ErrNotFound, provider.ErrIncorrectState,
		provider.ErrInUse, provider.ErrThrottled, provider.ErrExpired}
)

func isOneOf(err error, of []error) bool {
	return slices.ContainsFunc(of, func(one error) bool { return errors.Is(err, one) })
}

// Permanent reports whether no further attempt can repair the error: an operator decides.
func Permanent(err error) bool {
	switch {
	case job.IsPermanent(err) || isOneOf(err, ends):
		return true
	case isOneOf(err, passing):
		return false
	}
	switch errs.KindOf(err) {
	case errs.FailedPrecondition:
		return !passes(errs.ReasonOf(err))
	case errs.Aborted:
		return errs.ReasonOf(err) == errorsv1.Reason_REASON_STALE_EPOCH
	case errs.AlreadyExists, errs.InvalidArgument, errs.PermissionDenied, errs.Unimplemented,
		errs.Unauthenticated:
		return true
	default:
		return false
	}
}

// passes reports whether a precondition may come true by itself within a few attempts.
func passes(reason errorsv1.Reason) bool {
	switch reason {
	case errorsv1.Reason_REASON_DEVICE_MISSING, errorsv1.Reason_REASON_MOUNT_BUSY,
		errorsv1.Reason_REASON_QUIESCE_NOT_ACQUIRED,
		errorsv1.Reason_REASON_UNIT_WRONG_STATE, errorsv1.Reason_REASON_DEVICE_BUSY,
		errorsv1.Reason_REASON_MARIADB_DOWN,
		errorsv1.Reason_REASON_FILESYSTEM_FROZEN, errorsv1.Reason_REASON_REPLICATION_RUNNING:
		return true
	default:
		return false
	}
}

// Pause reports whether an error is a reason to wait instead: somebody is away, busy, or asks to
// slow down.
func Pause(err error) (time.Duration, bool) {
	var w Waiting
	if errors.As(err, &w) {
		return 0, true
	}
	if after, throttled := provider.RetryAfter(err); throttled {
		return after, true
	}
	if isOneOf(err, ends) {
		return 0, false
	}
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.ResourceExhausted:
		return time.Second, true
	case errs.Aborted:
		return time.Second, errs.ReasonOf(err) != errorsv1.Reason_REASON_STALE_EPOCH
	default:
		return 0, false
	}
}

// IsReason reports whether an error has the reason.
func IsReason(err error, reason errorsv1.Reason) bool {
	return err != nil && errs.ReasonOf(err) == reason
}

// Missing reports whether a record, a unit, a mount or an object is not there.
func Missing(err error) bool {
	return err != nil && errs.KindOf(err) == errs.NotFound
}

// explained explains the errors of a commit too.
func explained(commit Commit) Commit {
	if commit == nil {
		return nil
	}
	return func(ctx context.Context, rec Records) error {
		if err := commit(ctx, rec); err != nil {
			return explain(err)
		}
		return nil
	}
}

// Changed refuses a request that relies on a record of before.
func Changed(what string, read ...errs.Action) error {
	return errs.New(errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH,
		what+" changed since it was read", errs.WithHint("read it again and decide again", read...))
}
