package kit

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// fault is an error as the engine keeps it: with its reason and the hint.
type fault struct {
	err         error
	reason, way string
}

func (f fault) Error() string { return f.err.Error() }
func (f fault) Unwrap() error { return f.err }

// Reason is the error's reason for programs.
func (f fault) Reason() string { return f.reason }

// Hint says what a person can do.
func (f fault) Hint() string { return f.way }

// Refuse makes the error of a step that must not go on as things stand.
func Refuse(reason errorsv1.Reason, way, format string, args ...any) error {
	return errs.New(errs.FailedPrecondition, reason, Sprintf(format, args...), errs.WithHint(way))
}

// explain prepares an error for the engine: reason and hint where it looks for them, with the
// job's own id in the commands of the hint, and whether another attempt can mend it.
func explain(err error, jobID string) error {
	f := fault{err: err, way: errs.HintOf(err).String()}
	var refusal *inventory.Refusal
	var cloud *provider.Error
	switch {
	case errors.As(err, &refusal):
		f.reason, f.way = refusal.Reason(), refusal.Hint()
	case errors.As(err, &cloud):
		f.reason, f.way = reasonName(cloudReason(cloud)), cmp.Or(f.way, cloud.Hint())
	default:
		if reason := errs.ReasonOf(err); reason != errorsv1.Reason_REASON_INTERNAL {
			f.reason = reasonName(reason)
		}
	}
	f.way = strings.ReplaceAll(f.way, "JOB", cmp.Or(jobID, "JOB"))
	if Permanent(err) {
		return job.Permanent(f)
	}
	return f
}

func reasonName(r errorsv1.Reason) string { return strings.TrimPrefix(r.String(), "REASON_") }

func cloudReason(e *provider.Error) errorsv1.Reason {
	switch {
	case errors.Is(e, provider.ErrThrottled):
		return errorsv1.Reason_REASON_PROVIDER_THROTTLED
	case errors.Is(e, provider.ErrLimitExceeded):
		return errorsv1.Reason_REASON_QUOTA_EXCEEDED
	case errors.Is(e, provider.ErrRefused):
		return errorsv1.Reason_REASON_ACTION_REQUIRED
	case errors.Is(e, provider.ErrInUse):
		return errorsv1.Reason_REASON_VOLUME_ATTACHED_ELSEWHERE
	default:
		return errorsv1.Reason_REASON_PROVIDER_ERROR
	}
}

// Permanent reports whether no further attempt can mend the error: a person decides.
func Permanent(err error) bool {
	if job.IsPermanent(err) {
		return true
	}
	var refusal *inventory.Refusal
	if errors.As(err, &refusal) {
		return !errors.Is(err, inventory.ErrStale)
	}
	for _, kind := range []error{provider.ErrInvalid, provider.ErrTokenReused,
		provider.ErrLimitExceeded, provider.ErrDenied, provider.ErrRefused} {
		if errors.Is(err, kind) {
			return true
		}
	}
	switch errs.KindOf(err) {
	case errs.FailedPrecondition:
		return !mends(errs.ReasonOf(err))
	case errs.Aborted:
		return errs.ReasonOf(err) == errorsv1.Reason_REASON_STALE_EPOCH
	case errs.InvalidArgument, errs.PermissionDenied, errs.Unimplemented, errs.Unauthenticated:
		return true
	default:
		return false
	}
}

// mends reports whether a precondition may come true by itself within a few attempts.
func mends(reason errorsv1.Reason) bool {
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
		return max(after, time.Second), true
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
	return err != nil && (errors.Is(err, inventory.ErrNotFound) ||
		errors.Is(err, provider.ErrNotFound) || errs.KindOf(err) == errs.NotFound)
}

// explained explains the errors of a commit too.
func explained(commit Commit) Commit {
	if commit == nil {
		return nil
	}
	return func(ctx context.Context, rec Records) error {
		if err := commit(ctx, rec); err != nil {
			return explain(err, "")
		}
		return nil
	}
}
