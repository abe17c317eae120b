package wire

import (
	"errors"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// busyWay is the end of what job.Busy says.
const busyWay = "wait for it, or cancel it"

// verdict is what a caller is told of an error of the packages below.
type verdict struct {
	kind   errs.Kind
	reason errorsv1.Reason
	way    string
	retry  time.Duration
	field  string
	meta   map[string]string
}

// Err makes any error one of package errs: its kind, its reason, its way out. One that is such already stays as it is.
func Err(err error) error {
	var known *errs.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	v, ok := judge(err)
	if !ok {
		return err
	}
	options := []errs.Option{errs.Wrap(said{err, v.way}), errs.WayOut(v.way)}
	if v.retry > 0 {
		options = append(options, errs.Retry(v.retry))
	}
	if v.field != "" {
		options = append(options, errs.Field(v.field, err.Error()))
	}
	for key, value := range v.meta {
		options = append(options, errs.Meta(key, value))
	}
	return errs.New(v.kind, v.reason, "", options...)
}

// said is an error whose text ends with the way out, which is told apart.
type said struct {
	error
	way string
}

// Error is the text without the way out.
func (s said) Error() string { return strings.TrimSuffix(s.error.Error(), ": "+s.way) }

// Unwrap is the error.
func (s said) Unwrap() error { return s.error }

func judge(err error) (verdict, bool) {
	var refusal *inventory.Refusal
	var busy *job.Busy
	var asked *job.Refusal
	var cloud *provider.Error
	switch {
	case errors.Is(err, job.ErrUnavailable):
		return verdict{kind: errs.Unavailable, reason: errorsv1.Reason_REASON_STORE_UNAVAILABLE, retry: time.Second,
			way: "try again; if it stays, see the control plane's log and the disk of its store"}, true
	case errors.As(err, &refusal):
		return ofInventory(refusal), true
	case errors.As(err, &busy):
		return verdict{kind: errs.Aborted, reason: errorsv1.Reason_REASON_JOB_BUSY, retry: time.Second,
			way: busyWay, meta: map[string]string{"job": "jobs/" + busy.JobID, "subject": busy.Subject}}, true
	case errors.As(err, &asked):
		return ofJob(asked), true
	case errors.Is(err, job.ErrNotFound):
		return verdict{kind: errs.NotFound, reason: errorsv1.Reason_REASON_NOT_FOUND, way: "list the jobs to see which there are"}, true
	case errors.As(err, &cloud):
		return ofProvider(cloud), true
	}
	return verdict{}, false
}

func ofInventory(r *inventory.Refusal) verdict {
	v := verdict{way: r.WayOut()}
	switch r.Kind {
	case inventory.ErrInvalid:
		v.kind, v.reason = errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD
	case inventory.ErrNotFound:
		v.kind, v.reason = errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND
	case inventory.ErrExists:
		v.kind, v.reason = errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS
	case inventory.ErrStale:
		v.kind, v.reason, v.retry = errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH, time.Second
	case inventory.ErrDenied:
		v.kind, v.reason = errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED
	default:
		v.kind = errs.FailedPrecondition
	}
	if reason, ok := inventoryReasons[r.Code]; ok {
		v.reason = reason
	}
	if r.Code == inventory.BadPage {
		v.field = "page_token"
	}
	return v
}

var inventoryReasons = map[inventory.Reason]errorsv1.Reason{
	inventory.AutoPurgeOnReplica:             errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT,
	inventory.AutoPurgeOnPrimaryWithReplicas: errorsv1.Reason_REASON_AUTO_PURGE_CONFLICT,
	inventory.RoleForbids:                    errorsv1.Reason_REASON_WRONG_ROLE,
	inventory.StateForbids:                   errorsv1.Reason_REASON_JOB_WRONG_STATE,
	inventory.ServerIDTaken:                  errorsv1.Reason_REASON_SERVER_ID_TAKEN,
	inventory.SnapshotNotUsable:              errorsv1.Reason_REASON_SNAPSHOT_UNUSABLE,
	inventory.BadPage:                        errorsv1.Reason_REASON_PAGE_TOKEN_INVALID,
}

func ofJob(r *job.Refusal) verdict {
	v := verdict{way: r.WayOut()}
	switch r.Kind {
	case job.ErrNotFound:
		v.kind, v.reason = errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND
	case job.ErrRequestReused:
		v.kind, v.reason = errs.AlreadyExists, errorsv1.Reason_REASON_REQUEST_REUSED
	case job.ErrInvalid:
		v.kind, v.reason = errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD
	default:
		v.kind, v.reason = errs.FailedPrecondition, errorsv1.Reason_REASON_JOB_WRONG_STATE
	}
	return v
}

func ofProvider(e *provider.Error) verdict {
	v := verdict{kind: errs.Unavailable, reason: errorsv1.Reason_REASON_PROVIDER_ERROR, way: "see `understudy provider check`"}
	switch e.Kind {
	case provider.ErrNotFound:
		v.kind, v.reason = errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND
	case provider.ErrThrottled:
		v.reason, v.retry = errorsv1.Reason_REASON_PROVIDER_THROTTLED, max(e.RetryAfter, time.Second)
	case provider.ErrLimitExceeded:
		v.kind, v.reason = errs.ResourceExhausted, errorsv1.Reason_REASON_QUOTA_EXCEEDED
	case provider.ErrInvalid:
		v.kind, v.reason = errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD
	case provider.ErrIncorrectState, provider.ErrInUse:
		v.kind = errs.FailedPrecondition
	}
	return v
}
