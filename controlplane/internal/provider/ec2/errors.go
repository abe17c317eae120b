package ec2

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// throttling are the codes that ask for patience, and how much.
var throttling = map[string]time.Duration{
	"RequestLimitExceeded":                    2 * time.Second,
	"Throttling":                              2 * time.Second,
	"ThrottlingException":                     2 * time.Second,
	"RequestThrottled":                        2 * time.Second,
	"RequestThrottledException":               2 * time.Second,
	"SnapshotCreationPerVolumeRateExceeded":   15 * time.Second,
	"ConcurrentSnapshotLimitExceeded":         10 * time.Second,
	"PendingSnapshotLimitExceeded":            10 * time.Second,
	"InsufficientInstanceCapacity":            time.Minute,
	"InsufficientHostCapacity":                time.Minute,
	"InsufficientCapacity":                    time.Minute,
	"InsufficientFreeAddressesInSubnet":       time.Minute,
	"InsufficientVolumeCapacity":              30 * time.Second,
	"MaxConcurrentVolumeModificationExceeded": 30 * time.Second,
}

// kinds are EC2's codes as the provider's kinds; those that end in .NotFound or .Malformed need no
// line.
var kinds = map[string]error{
	"IncorrectState":                  provider.ErrIncorrectState,
	"IncorrectInstanceState":          provider.ErrIncorrectState,
	"IncorrectModificationState":      provider.ErrIncorrectState,
	"InvalidAttachment.NotFound":      provider.ErrIncorrectState,
	"InvalidVolume.ZoneMismatch":      provider.ErrInvalid,
	"InvalidParameterValue":           provider.ErrInvalid,
	"InvalidParameterCombination":     provider.ErrInvalid,
	"InvalidParameter":                provider.ErrInvalid,
	"InvalidParameterDependency":      provider.ErrInvalid,
	"MissingParameter":                provider.ErrInvalid,
	"UnknownParameter":                provider.ErrInvalid,
	"UnknownVolumeType":               provider.ErrInvalid,
	"Unsupported":                     provider.ErrInvalid,
	"TagLimitExceeded":                provider.ErrInvalid,
	"InvalidInstanceType":             provider.ErrInvalid,
	"InvalidZone.NotFound":            provider.ErrInvalid,
	"InvalidSubnetID.NotFound":        provider.ErrInvalid,
	"InvalidGroup.NotFound":           provider.ErrInvalid,
	"InvalidSecurityGroupID.NotFound": provider.ErrInvalid,
	"OperationNotPermitted":           provider.ErrIncorrectState,
	tokenMismatch:                     provider.ErrTokenReused,
	"IdempotentInstanceTerminated":    provider.ErrEnded,
	"VolumeInUse":                     provider.ErrInUse,
	"InvalidSnapshot.InUse":           provider.ErrInUse,
	"UnauthorizedOperation":           provider.ErrDenied,
	"AuthFailure":                     provider.ErrDenied,
	"OptInRequired":                   provider.ErrDenied,
	"CustomerKeyHasBeenRevoked":       provider.ErrDenied,
	"ExpiredToken":                    provider.ErrExpired,
	"RequestExpired":                  provider.ErrExpired,
	"InvalidClientTokenId":            provider.ErrDenied,
	"SignatureDoesNotMatch":           provider.ErrDenied,
	"VolumeLimitExceeded":             provider.ErrLimitExceeded,
	"AttachmentLimitExceeded":         provider.ErrLimitExceeded,
	"MaxIOPSLimitExceeded":            provider.ErrLimitExceeded,
	"InstanceLimitExceeded":           provider.ErrLimitExceeded,
	"VcpuLimitExceeded":               provider.ErrLimitExceeded,
	"ResourceLimitExceeded":           provider.ErrLimitExceeded,
	"SnapshotLimitExceeded":           provider.ErrLimitExceeded,
	"VolumeModificationRateExceeded":  provider.ErrLimitExceeded,

	"VolumeModificationSizeLimitExceeded": provider.ErrLimitExceeded,
}

// codeOf is EC2's code of an error; empty when EC2 did not answer.
func codeOf(err error) string {
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		return refusal.ErrorCode()
	}
	return ""
}

// lost says that no answer came: whether the call had its effect is not known.
func lost(err error) bool {
	if err == nil || errors.Is(err, errNotSent) {
		return false
	}
	code := codeOf(err)
	return code == "" || slices.Contains([]string{"InternalError", "InternalFailure", "Unavailable",
		"ServiceUnavailable"}, code)
}

// mayHaveMade says that a call which the SDK repeats may have had its effect although it failed: an
// earlier try of one that ended throttled may have lost its answer.
func mayHaveMade(err error) bool {
	code := codeOf(err)
	return lost(err) || err != nil && !slices.Contains(noCapacity, code) && errors.Is(kindOf(code),
		provider.ErrThrottled)
}

var errNotSent = errors.New("not sent")

func kindOf(code string) error {
	switch kind, known := kinds[code]; {
	case throttling[code] > 0:
		return provider.ErrThrottled
	case known:
		return kind
	case strings.HasSuffix(code, ".NotFound") || strings.HasSuffix(code, ".Malformed"):
		return provider.ErrNotFound
	}
	return nil
}

// refused turns the SDK's error into the provider's. What EC2 did not answer, or answers with a
// code that nobody knows, stays as it is: it may work another time.
func refused(err error, action, id string) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var already *errs.Error
	if errors.As(err, &already) {
		return err
	}
	var refusal smithy.APIError
	if !errors.As(err, &refusal) {
		return &callError{action, id, err}
	}
	code := refusal.ErrorCode()
	kind := kindOf(code)
	if kind == nil {
		return &callError{action, id, err}
	}
	said := "EC2 refused " + about(action, id) + ": " + code + ": " + refusal.ErrorMessage()
	if why := whyExpired(err); why != "" {
		return provider.Expired(err, "%s (%s)", said, why)
	}
	text := said + hint(err, code, action)
	if after := throttling[code]; after > 0 {
		return provider.Throttled(err, after, "%s", text)
	}
	return provider.Because(err, kind, id, "%s", text)
}

// callError is a call that brought no usable answer.
type callError struct {
	action, id string
	cause      error
}

func (e *callError) Error() string {
	return "cannot call EC2's " + about(e.action, e.id) + ": " + e.cause.Error()
}
func (e *callError) Unwrap() error { return e.cause }

func about(action, id string) string {
	if id == "" {
		return action
	}
	return action + " of " + id
}

// explicitlyDenied says that a policy denies a call, and not only that none allows it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
func explicitlyDenied(err error) bool {
	return codeOf(err) == "UnauthorizedOperation" &&
		strings.Contains(err.Error(), "with an explicit deny")
}

func hint(err error, code, action string) string {
	switch {
	case code == "CustomerKeyHasBeenRevoked":
		return " (the volume's key: see that it is enabled, and allow " + grantAction +
			" and kms:Decrypt on it to the control plane; docs/ec2.md has the whole policy)"
	case explicitlyDenied(err):
		return " (a policy denies it, such as one of the organization, which no allow undoes: " +
			"have that policy changed)"
	case code == "UnauthorizedOperation":
		return " (allow " + deniedAction(err, action) + " to the control plane; docs/ec2.md has " +
			"the whole policy)"
	case errors.Is(kinds[code], provider.ErrDenied):
		return " (see to the control plane's AWS credentials)"
	case code == "VolumeModificationRateExceeded":
		return " (EC2 changes a volume four times in 24 hours: wait)"
	case code == "IncorrectModificationState":
		return " (the change before must be completed, which may take hours: wait)"
	case strings.HasSuffix(code, "LimitExceeded") && throttling[code] == 0:
		return " (ask AWS for a higher quota, or remove what is not needed)"
	}
	return ""
}
