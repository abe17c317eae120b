package errs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

// overTheWire is err as the other side of a call gets it.
func overTheWire(t *testing.T, err error) error {
	t.Helper()
	encoded, marshalErr := proto.Marshal(status.Convert(errs.ToStatus(err)).Proto())
	if marshalErr != nil {
		t.Fatal(marshalErr)
	}
	s := status.Convert(errs.ToStatus(err)).Proto()
	proto.Reset(s)
	if err := proto.Unmarshal(encoded, s); err != nil {
		t.Fatal(err)
	}
	return errs.FromStatus(status.ErrorProto(s))
}

func TestEverythingSurvivesTheWire(t *testing.T) {
	t.Parallel()
	made := fmt.Errorf("start replica: %w",
		errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_UNIT_MASKED,
			"unit mariadb.service is masked", errs.WithHint("unmask it"),
			errs.Meta("unit", "mariadb.service"),
			errs.Precondition("units/mariadb.service", "is masked"), errs.Field("unit", "masked"),
			errs.Retry(3*time.Second), errs.Wrap(io.ErrUnexpectedEOF)))
	for side, err := range map[string]error{"here": made, "there": overTheWire(t, made)} {
		t.Run(side, func(t *testing.T) {
			if !errors.Is(err, errs.FailedPrecondition) || errors.Is(err, errs.NotFound) {
				t.Errorf("kind of %v", err)
			}
			if got := errs.ReasonOf(err); got != errorsv1.Reason_REASON_UNIT_MASKED {
				t.Errorf("reason %v", got)
			}
			if got := errs.HintOf(err).String(); got != "unmask it" {
				t.Errorf("hint %q", got)
			}
			if got := errs.MetaOf(err); len(got) != 1 || got["unit"] != "mariadb.service" {
				t.Errorf("metadata %v", got)
			}
			if got, ok := errs.RetryOf(err); !ok || got != 3*time.Second {
				t.Errorf("retry %v %v", got, ok)
			}
			if got := errs.FieldsOf(err); len(got) != 1 ||
				got[0] != (errs.FieldViolation{Field: "unit", Why: "masked"}) {
				t.Errorf("fields %v", got)
			}
			if got := errs.PreconditionsOf(err); len(got) != 1 ||
				got[0].Subject != "units/mariadb.service" {
				t.Errorf("preconditions %v", got)
			}
			if got := err.Error(); got != "start replica: unit mariadb.service is masked: "+
				"unexpected EOF" {
				t.Errorf("text %q", got)
			}
		})
	}
	if got := status.Convert(errs.ToStatus(made)).Message(); !strings.HasSuffix(got,
		"; hint: unmask it") {
		t.Errorf("the status does not show the hint: %q", got)
	}
}

func TestEveryKindSurvivesTheWire(t *testing.T) {
	t.Parallel()
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		kind := errs.Kind(code)
		err := overTheWire(t, errs.New(kind, errorsv1.Reason_REASON_UNSPECIFIED, "no"))
		if errs.KindOf(err) != kind || !errors.Is(err, kind) {
			t.Errorf("%v came back as %v", kind, errs.KindOf(err))
		}
	}
}

func TestErrorsOfOthers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err    error
		kind   errs.Kind
		reason errorsv1.Reason
	}{
		{errors.New("boom"), errs.Internal, errorsv1.Reason_REASON_INTERNAL},
		{context.DeadlineExceeded, errs.DeadlineExceeded, errorsv1.Reason_REASON_TIMEOUT},
		{fmt.Errorf("x: %w", context.Canceled), errs.Canceled, errorsv1.Reason_REASON_CANCELED},
		{status.Error(codes.Unavailable, "refused"), errs.Unavailable,
			errorsv1.Reason_REASON_UNREACHABLE},
		{fmt.Errorf("x: %w", status.Error(codes.NotFound, "y")), errs.NotFound,
			errorsv1.Reason_REASON_NOT_FOUND},
	}
	for _, test := range tests {
		for _, err := range []error{test.err, overTheWire(t, test.err)} {
			if errs.KindOf(err) != test.kind || errs.ReasonOf(err) != test.reason {
				t.Errorf("%v: %v %v", err, errs.KindOf(err), errs.ReasonOf(err))
			}
			if !errors.Is(errs.FromStatus(errs.ToStatus(err)), test.kind) {
				t.Errorf("%v is no %v", err, test.kind)
			}
		}
	}
	if !errors.Is(overTheWire(t, context.DeadlineExceeded), context.DeadlineExceeded) {
		t.Error("a deadline is no deadline any more")
	}
}

func TestOuterFactsComeFirst(t *testing.T) {
	t.Parallel()
	inner := errs.New(errs.NotFound, errorsv1.Reason_REASON_DEVICE_MISSING, "no device",
		errs.WithHint("attach it"), errs.Meta("volume", "vol-1"), errs.Meta("host", "a"))
	outer := errs.New(errs.Unavailable, errorsv1.Reason_REASON_UNSPECIFIED, "cannot mount",
		errs.Wrap(inner), errs.Meta("host", "b"))
	if errs.KindOf(outer) != errs.Unavailable ||
		errs.ReasonOf(outer) != errorsv1.Reason_REASON_DEVICE_MISSING {
		t.Errorf("%v %v", errs.KindOf(outer), errs.ReasonOf(outer))
	}
	if errs.HintOf(outer).String() != "attach it" || errs.MetaOf(outer)["host"] != "b" ||
		errs.MetaOf(outer)["volume"] != "vol-1" {
		t.Errorf("%q %v", errs.HintOf(outer).String(), errs.MetaOf(outer))
	}
}

func TestUnknownReasonOfANewerPeerIsPassedOn(t *testing.T) {
	t.Parallel()
	s := status.Convert(errs.ToStatus(errs.New(errs.Aborted, errorsv1.Reason(99999), "new")))
	again := status.Convert(errs.ToStatus(errs.FromStatus(s.Err())))
	if !proto.Equal(s.Proto(), again.Proto()) {
		t.Errorf("%v became %v", s.Proto(), again.Proto())
	}
}

func TestTextIsFitForTheWire(t *testing.T) {
	t.Parallel()
	err := overTheWire(t, errs.New(errs.Internal, errorsv1.Reason_REASON_TOOL_FAILED,
		"bad\xff"+strings.Repeat("x", 1<<20),
		errs.Meta("tail", "\xff\xfe"), errs.WithHint("look at the log")))
	if errs.ReasonOf(err) != errorsv1.Reason_REASON_TOOL_FAILED ||
		errs.HintOf(err).String() != "look at the log" {
		t.Errorf("lost the details of %.40v", err)
	}
	if len(err.Error()) > 9<<10 {
		t.Errorf("%d bytes of text", len(err.Error()))
	}
}

func TestNilStaysNil(t *testing.T) {
	t.Parallel()
	if errs.ToStatus(nil) != nil || errs.FromStatus(nil) != nil {
		t.Error("nil became an error")
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	v := errs.Fields{}
	v.Require("name", true, "is missing")
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	v.Require("size_bytes", false, "must be positive")
	v.Add("mounts[1].path", "must be absolute")
	err := overTheWire(t, v.Err())
	if !errors.Is(err, errs.InvalidArgument) || len(errs.FieldsOf(err)) != 2 {
		t.Fatalf("%v: %v", err, errs.FieldsOf(err))
	}
	want := "invalid request: size_bytes: must be positive; mounts[1].path: must be absolute"
	if err.Error() != want {
		t.Errorf("%q", err)
	}
}

// gRPC tells a call whose time is over by what ended its stream.
func TestNoAnswerInTimeSaysSo(t *testing.T) {
	t.Parallel()
	err := errs.FromStatus(status.Error(codes.DeadlineExceeded,
		"stream terminated by RST_STREAM with error code: CANCEL"))
	if err.Error() != "no answer in time" || errs.KindOf(err) != errs.DeadlineExceeded {
		t.Errorf("%v", err)
	}
}
