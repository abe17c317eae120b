package chassis_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/proto/rpc/chassis"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	limits := chassis.Limits{MaxItems: 3,
		Texts: map[protoreflect.FullName]int{"understudy.agent.v1.SetDropInRequest.content": 20}}
	tests := []struct {
		name  string
		msg   proto.Message
		field string // "" when fine
	}{
		{"empty", &agentv1.GetUnitRequest{}, ""},
		{"plain", &agentv1.GetUnitRequest{Unit: "mariadb.service"}, ""},
		{"other scripts", &agentv1.GetUnitRequest{Unit: "größe-数据"}, ""},
		{"NUL", &agentv1.GetUnitRequest{Unit: "a\x00"}, "unit"},
		{"newline", &agentv1.GetUnitRequest{Unit: "a\nb"}, "unit"},
		{"carriage return", &agentv1.GetUnitRequest{Unit: "a\rb"}, "unit"},
		{"tab", &agentv1.GetUnitRequest{Unit: "a\tb"}, "unit"},
		{"escape", &agentv1.GetUnitRequest{Unit: "\x1b[2J"}, "unit"},
		{"next line", &agentv1.GetUnitRequest{Unit: "a\u0085b"}, "unit"},
		{"line separator", &agentv1.GetUnitRequest{Unit: "a\u2028b"}, "unit"},
		{"turned around", &agentv1.GetUnitRequest{Unit: "a\u202eb"}, "unit"},
		{"no UTF-8", &agentv1.GetUnitRequest{Unit: "a\xff"}, "unit"},
		{"as long as it may be", &agentv1.GetUnitRequest{Unit: strings.Repeat("x", 4096)}, ""},
		{"too long", &agentv1.GetUnitRequest{Unit: strings.Repeat("x", 4097)}, "unit"},
		{"as many as may be", &agentv1.WatchUnitsRequest{Units: []string{"a", "b", "c"}}, ""},
		{"too many", &agentv1.WatchUnitsRequest{Units: []string{"a", "b", "c", "d"}}, "units"},
		{"in a list", &agentv1.WatchUnitsRequest{Units: []string{"a", "\n"}}, "units[1]"},
		{"in a message",
			&agentv1.StartUnitRequest{FencingToken: &agentv1.FencingToken{Job: "\x7f"}},
			"fencing_token.job"},
		{"in a map", &errdetails.ErrorInfo{Metadata: map[string]string{"k": "\n"}},
			`metadata["k"]`},
		{"key of a map", &errdetails.ErrorInfo{Metadata: map[string]string{"\n": "v"}},
			`metadata["\n"]`},
		{"too many entries",
			&errdetails.ErrorInfo{Metadata: map[string]string{"a": "", "b": "", "c": "", "d": ""}},
			"metadata"},
		{"text of several lines", &agentv1.SetDropInRequest{Content: "[Unit]\nA=b\n"}, ""},
		{"text with NUL", &agentv1.SetDropInRequest{Content: "[Unit]\x00"}, "content"},
		{"text too long", &agentv1.SetDropInRequest{Content: strings.Repeat("x", 21)}, "content"},
		{"impossible duration",
			&agentv1.StartUnitRequest{Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}},
			"timeout"},
		{"unknown enum", &controlplanev1.Server{Role: 77}, "role"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fields := errs.FieldsOf(limits.Check(test.msg))
			switch {
			case test.field == "" && len(fields) == 0:
			case test.field != "" && len(fields) > 0 && fields[0].Field == test.field:
			default:
				t.Errorf("got %v, want %q", fields, test.field)
			}
		})
	}
}

func TestLimitsStopLooking(t *testing.T) {
	t.Parallel()
	units := make([]string, 900)
	for i := range units {
		units[i] = fmt.Sprintf("\n%d", i)
	}
	if fields := errs.FieldsOf(
		chassis.Limits{}.Check(&agentv1.WatchUnitsRequest{Units: units})); len(fields) != 20 {
		t.Errorf("%d violations", len(fields))
	}
}
