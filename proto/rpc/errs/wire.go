package errs

import (
	"errors"
	"maps"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// Domain is the domain of every google.rpc.ErrorInfo that this package writes.
const Domain = "understudy"

const (
	reasonPrefix = "REASON_"
	hintLabel    = "; hint: "
	// maxText bounds each text on the wire: trailers are no place for a log.
	maxText = 8 << 10
)

// ToStatus is err as a gRPC status error with all details; nil stays nil and a status made
// elsewhere stays as it is. The status's message ends with the hint, so that it is seen by
// whoever prints nothing else.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		if s, ok := status.FromError(err); ok {
			return s.Err()
		}
	}
	return encode(err).Err()
}

// GRPCStatus makes status.Code and status.FromError work on an *Error.
func (e *Error) GRPCStatus() *status.Status { return encode(e) }

// FromStatus is the *Error that a status error stands for; nil stays nil, and any other error is
// returned as it is.
func FromStatus(err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	if e := decode(err); e != nil {
		return e
	}
	return err
}

func encode(err error) *status.Status {
	flat := read(err)
	text := clean(err.Error())
	if !flat.hint.Empty() {
		text += hintLabel + clean(flat.hint.String())
	}
	plain := status.New(codes.Code(flat.kind), text)
	detailed, detailErr := plain.WithDetails(flat.details()...)
	if detailErr != nil {
		return plain
	}
	return detailed
}

func (e *Error) details() []protoadapt.MessageV1 {
	details := []protoadapt.MessageV1{e.errorInfo()}
	if hint := HintToProto(e.hint); hint != nil {
		details = append(details, protoadapt.MessageV1Of(hint))
	}
	if len(e.fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range e.fields {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: clean(f.Field),
					Description: clean(f.Why)})
		}
		details = append(details, bad)
	}
	if len(e.unmet) > 0 {
		failure := &errdetails.PreconditionFailure{}
		for _, u := range e.unmet {
			failure.Violations = append(failure.Violations,
				&errdetails.PreconditionFailure_Violation{
					Type: e.reasonName(), Subject: clean(u.Subject), Description: clean(u.Why)})
		}
		details = append(details, failure)
	}
	if e.hasRetry {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.retry)})
	}
	return details
}

func (e *Error) errorInfo() *errdetails.ErrorInfo {
	info := &errdetails.ErrorInfo{Reason: e.reasonName(), Domain: Domain,
		Metadata: map[string]string{}}
	for key, value := range e.meta {
		info.Metadata[clean(key)] = clean(value)
	}
	return info
}

func (e *Error) reasonName() string {
	if e.rawName != "" {
		return e.rawName
	}
	return strings.TrimPrefix(e.reason.String(), reasonPrefix)
}

// decode reads a status error, or answers nil when err is none.
func decode(err error) *Error {
	s, ok := status.FromError(err)
	if !ok || s.Code() == codes.OK {
		return nil
	}
	e := &Error{kind: Kind(s.Code()), message: s.Message()}
	for _, detail := range s.Details() {
		e.readDetail(detail)
	}
	if e.kind == DeadlineExceeded && len(s.Details()) == 0 {
		e.message = "no answer in time" // gRPC's own words are of its transport (RST_STREAM)
	}
	if !e.hint.Empty() {
		e.message = strings.TrimSuffix(e.message, hintLabel+clean(e.hint.String()))
	}
	return e
}

func (e *Error) readDetail(detail any) {
	switch d := detail.(type) {
	case *errdetails.ErrorInfo:
		e.readInfo(d)
	case *errorsv1.Hint:
		e.hint = HintFromProto(d)
	case *errdetails.BadRequest:
		for _, v := range d.GetFieldViolations() {
			e.fields = append(e.fields,
				FieldViolation{Field: v.GetField(), Why: v.GetDescription()})
		}
	case *errdetails.PreconditionFailure:
		for _, v := range d.GetViolations() {
			e.unmet = append(e.unmet, Unmet{Subject: v.GetSubject(), Why: v.GetDescription()})
		}
	case *errdetails.RetryInfo:
		e.retry, e.hasRetry = max(d.GetRetryDelay().AsDuration(), time.Duration(0)), true
	}
}

func (e *Error) readInfo(info *errdetails.ErrorInfo) {
	if info.GetDomain() != Domain {
		return
	}
	e.meta = maps.Clone(info.GetMetadata())
	number, known := errorsv1.Reason_value[reasonPrefix+info.GetReason()]
	if !known {
		e.rawName = info.GetReason()
		return
	}
	e.reason = errorsv1.Reason(number)
}

// clean makes text fit for the wire: valid UTF-8 of bounded length.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + " …"
}
