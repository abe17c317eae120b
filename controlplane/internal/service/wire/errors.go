package wire

import (
	"errors"
	"strings"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// verdict is what a caller is told of an error of the packages below.
type verdict struct {
	meaning
	way   string
	retry time.Duration
	field string
}

// Err makes any error one of package errs: its kind, its reason, its hint. One that is such
// already stays as it is.
func Err(err error) error {
	var known *errs.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	v, ok := judge(err)
	if !ok {
		return err
	}
	options := []errs.Option{errs.Wrap(said{err, v.way}), errs.WithHint(v.way)}
	if v.retry > 0 {
		options = append(options, errs.Retry(v.retry))
	}
	if v.field != "" {
		options = append(options, errs.Field(v.field, err.Error()))
	}
	return errs.New(v.kind, v.reason, "", options...)
}

// said is an error whose text ends with the hint, which is told apart.
type said struct {
	error
	way string
}

// Error is the text without the hint.
func (s said) Error() string { return strings.TrimSuffix(s.error.Error(), ": "+s.way) }

// Unwrap is the error.
func (s said) Unwrap() error { return s.error }

func judge(err error) (verdict, bool) {
	var refusal *inventory.Refusal
	var cloud *provider.Error
	switch {
	case errors.As(err, &refusal):
		return ofInventory(refusal), true
	case errors.As(err, &cloud):
		return ofProvider(cloud), true
	}
	return verdict{}, false
}

// meaning is a kind with its reason.
type meaning struct {
	kind   errs.Kind
	reason errorsv1.Reason
}

func ofInventory(r *inventory.Refusal) verdict {
	m, ok := inventoryKinds[r.Kind]
	if !ok {
		m = meaning{kind: errs.FailedPrecondition}
	}
	if reason, ok := inventoryReasons[r.Code]; ok {
		m.reason = reason
	}
	v := verdict{meaning: m, way: r.Hint()}
	if m.kind == errs.Aborted {
		v.retry = time.Second
	}
	if r.Code == inventory.BadPage {
		v.field = "page_token"
	}
	return v
}

var inventoryKinds = map[error]meaning{
	inventory.ErrInvalid:  {errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD},
	inventory.ErrNotFound: {errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND},
	inventory.ErrExists:   {errs.AlreadyExists, errorsv1.Reason_REASON_ALREADY_EXISTS},
	inventory.ErrStale:    {errs.Aborted, errorsv1.Reason_REASON_ETAG_MISMATCH},
	inventory.ErrDenied:   {errs.PermissionDenied, errorsv1.Reason_REASON_NOT_ALLOWED},
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

func ofProvider(e *provider.Error) verdict {
	m, ok := providerKinds[e.Kind]
	if !ok {
		m = meaning{errs.Unavailable, errorsv1.Reason_REASON_PROVIDER_ERROR}
	}
	v := verdict{meaning: m, way: e.Hint()}
	if m.reason == errorsv1.Reason_REASON_PROVIDER_THROTTLED {
		v.retry = max(e.RetryAfter, time.Second)
	}
	return v
}

var providerKinds = map[error]meaning{
	provider.ErrNotFound:       {errs.NotFound, errorsv1.Reason_REASON_NOT_FOUND},
	provider.ErrThrottled:      {errs.Unavailable, errorsv1.Reason_REASON_PROVIDER_THROTTLED},
	provider.ErrLimitExceeded:  {errs.ResourceExhausted, errorsv1.Reason_REASON_QUOTA_EXCEEDED},
	provider.ErrInvalid:        {errs.InvalidArgument, errorsv1.Reason_REASON_INVALID_FIELD},
	provider.ErrIncorrectState: {errs.FailedPrecondition, errorsv1.Reason_REASON_PROVIDER_ERROR},
	provider.ErrRefused:        {errs.FailedPrecondition, errorsv1.Reason_REASON_ACTION_REQUIRED},
	provider.ErrInUse:          {errs.FailedPrecondition, errorsv1.Reason_REASON_PROVIDER_ERROR},
}
