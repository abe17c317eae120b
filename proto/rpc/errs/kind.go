// Package errs is the one vocabulary of errors on both sides of a call: a kind that says what the
// caller can do about it, a reason that programs may rely on, the cause in words, and the hint.
// errors.Is and errors.As work alike on an error made here and on the same error after it crossed
// the wire.
package errs

import (
	"google.golang.org/grpc/codes"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Kind says what a caller can do about an error. A Kind is itself an error, so errors.Is(err,
// errs.NotFound) holds for every error of that kind.
type Kind codes.Code

// The kinds, each with what it means to the caller.
const (
	// Canceled: the caller itself went away, or the server is stopping.
	Canceled = Kind(codes.Canceled)
	// Unknown: an error of a peer that speaks no kinds.
	Unknown = Kind(codes.Unknown)
	// InvalidArgument: the request is wrong, whatever the state; the field violations say where.
	InvalidArgument = Kind(codes.InvalidArgument)
	// DeadlineExceeded: time was over; whether there was an effect has to be observed.
	DeadlineExceeded = Kind(codes.DeadlineExceeded)
	// NotFound: what the request names is not there.
	NotFound = Kind(codes.NotFound)
	// AlreadyExists: something of that name is there, and differs from what was asked for.
	AlreadyExists = Kind(codes.AlreadyExists)
	// PermissionDenied: the caller, or the host's allow-list, does not permit this.
	PermissionDenied = Kind(codes.PermissionDenied)
	// ResourceExhausted: too many calls, or too little room.
	ResourceExhausted = Kind(codes.ResourceExhausted)
	// FailedPrecondition: unsafe as things stand; a person decides.
	FailedPrecondition = Kind(codes.FailedPrecondition)
	// Aborted: somebody else holds it, or holds it now.
	Aborted = Kind(codes.Aborted)
	// OutOfRange: past the end of what there is.
	OutOfRange = Kind(codes.OutOfRange)
	// Unimplemented: not known to this version.
	Unimplemented = Kind(codes.Unimplemented)
	// Internal: something failed that should not have.
	Internal = Kind(codes.Internal)
	// Unavailable: a daemon or a peer does not answer; try again.
	Unavailable = Kind(codes.Unavailable)
	// DataLoss: data is damaged beyond repair.
	DataLoss = Kind(codes.DataLoss)
	// Unauthenticated: the caller did not prove who it is.
	Unauthenticated = Kind(codes.Unauthenticated)
)

// Error makes a kind usable as the target of errors.Is.
func (k Kind) Error() string { return k.String() }

// String is the name of the gRPC code, for example "FailedPrecondition".
func (k Kind) String() string { return codes.Code(k).String() }

// defaultReason is what an error without a reason of its own carries.
func (k Kind) defaultReason() errorsv1.Reason {
	switch k {
	case InvalidArgument, OutOfRange:
		return errorsv1.Reason_REASON_INVALID_FIELD
	case NotFound:
		return errorsv1.Reason_REASON_NOT_FOUND
	case AlreadyExists:
		return errorsv1.Reason_REASON_ALREADY_EXISTS
	case PermissionDenied:
		return errorsv1.Reason_REASON_NOT_ALLOWED
	case Unauthenticated:
		return errorsv1.Reason_REASON_UNAUTHENTICATED
	case DeadlineExceeded:
		return errorsv1.Reason_REASON_TIMEOUT
	case Canceled:
		return errorsv1.Reason_REASON_CANCELED
	case Unavailable:
		return errorsv1.Reason_REASON_UNREACHABLE
	case ResourceExhausted:
		return errorsv1.Reason_REASON_RATE_LIMITED
	case Unimplemented:
		return errorsv1.Reason_REASON_UNIMPLEMENTED
	case Internal, DataLoss:
		return errorsv1.Reason_REASON_INTERNAL
	default:
		return errorsv1.Reason_REASON_UNSPECIFIED
	}
}
