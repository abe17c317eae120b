package limits_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/limits"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	controlplanev1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestWhateverTheProtoFileSays(t *testing.T) {
	t.Parallel()
	units := func(n int) []string { return strings.Split(strings.Repeat("a ", n-1)+"a", " ") }
	dropIn := func(content string) proto.Message {
		return &agentv1.SetDropInRequest{Unit: "a.service", DropIn: "a.conf", Content: content}
	}
	tests := []struct {
		name  string
		msg   proto.Message
		field string // "" when fine
	}{
		{"empty", &agentv1.WatchUnitsRequest{}, ""},
		{"required", &agentv1.GetUnitRequest{}, "unit"},
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
		{"as long as it may be", &agentv1.GetMountRequest{Path: strings.Repeat("x", 4096)}, ""},
		{"too long", &agentv1.GetMountRequest{Path: strings.Repeat("x", 4097)}, "path"},
		{"as many as may be", &agentv1.WatchUnitsRequest{Units: units(200)}, ""},
		{"too many", &agentv1.WatchUnitsRequest{Units: units(201)}, "units"},
		{"in a list", &agentv1.WatchUnitsRequest{Units: []string{"a", "\n"}}, "units[1]"},
		{"in a message", &agentv1.StartUnitRequest{Unit: "a",
			FencingToken: &agentv1.FencingToken{Job: "\x7f"}},
			"fencing_token.job"},
		{"in a map", &errdetails.ErrorInfo{Metadata: map[string]string{"k": "\n"}},
			`metadata["k"]`},
		{"key of a map", &errdetails.ErrorInfo{Metadata: map[string]string{"\n": "v"}},
			`metadata["\n"]`},
		{"text of several lines", dropIn("[Unit]\n\tA=b\n"), ""},
		{"text with NUL", dropIn("[Unit]\x00"), "content"},
		{"text as long as it may be", dropIn(strings.Repeat("x", 16<<10)), ""},
		{"text too long", dropIn(strings.Repeat("x", 16<<10+1)), "content"},
		{"impossible duration",
			&agentv1.StartUnitRequest{Unit: "a",
				Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}}, "timeout"},
		{"impossible time", &controlplanev1.ListJobsRequest{
			CreatedAfter: &timestamppb.Timestamp{Nanos: -1}}, "created_after"},
		{"unknown enum", &controlplanev1.ListServersRequest{Role: 77}, "role"},
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

func TestViolationsEndAt20(t *testing.T) {
	t.Parallel()
	units := make([]string, 199)
	for i := range units {
		units[i] = fmt.Sprintf("\n%d", i)
	}
	if fields := errs.FieldsOf(
		limits.Check(&agentv1.WatchUnitsRequest{Units: units})); len(fields) != 20 {
		t.Errorf("%d violations", len(fields))
	}
}

func TestRefusalsSayWhatAValueMustBe(t *testing.T) {
	t.Parallel()
	type (
		server   = controlplanev1.CreateServerRequest
		snapshot = controlplanev1.CreateSnapshotRequest
	)
	const db1 = "servers/db1"
	for want, msg := range map[string]proto.Message{
		`name: is required: "servers/{server}" with`: &server{},
		`server: must be "servers/{server}" with`:    &snapshot{Server: "db1"},
		"volume_size_bytes: must be 512MiB to 64TiB": &server{Name: db1, VolumeSizeBytes: 1 << 20},
		"filesystem: must be one of ext4, xfs":       &server{Name: db1, Filesystem: "zfs"},
		"port: must be 1 to 65535":                   &server{Name: db1, Port: -1},
		`options["A"]: must be the name of an option`: &server{Name: db1,
			Options: map[string]string{"A": ""}},
		"quiesce_limit: must be 1s to 4h": &snapshot{Server: db1,
			QuiesceLimit: durationpb.New(-1)},
		"mode: must be one of ONLINE, OFFLINE, CRASH": &snapshot{Server: db1, Mode: -1},
		"request_id: must be a UUID, for example":     &snapshot{Server: db1, RequestId: "1"},
		"source_role: is required: one of PRIMARY": &agentv1.PrepareReplicaRequest{
			ServerId: 1},
		"expiry: must be at most 2376h in whole seconds": &agentv1.SetBinlogExpiryRequest{
			Expiry: durationpb.New(1)},
		"page_size: must be at least 0": &controlplanev1.ListJobsRequest{PageSize: -1},
	} {
		if err := limits.Check(msg); err == nil ||
			!strings.HasPrefix(err.Error(), "invalid request: "+want) {
			t.Errorf("%v\n  want %s", err, want)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	field := limits.Lookup(&controlplanev1.CreateReplicaRequest{}, "quiesce_limit")
	if field.Text() != "1s to 60s" || field.Default() != "10s" || field.Required() {
		t.Errorf("%q, default %q", field.Text(), field.Default())
	}
	if !limits.Lookup(&controlplanev1.UpdateServerRequest{}, "server.name").Required() {
		t.Error("server.name is not required")
	}
}
