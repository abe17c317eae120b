package app_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/proto/rpc/authz/authztest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// hostileTexts are strings that no name, key, token or option may be.
var hostileTexts = map[string]string{
	"oversized":      strings.Repeat("a", 5000),
	"traversal":      "../../etc/passwd",
	"traversal name": "servers/../../etc/passwd",
	"option":         "--defaults-file=/etc/shadow",
	"option name":    "servers/--help",
	"quotes":         `a'b"c`,
	"quoted name":    `servers/db1'; DROP TABLE servers; --`,
	"newline":        "db1\nmysqld",
	"newline name":   "servers/db1\n[mysqld]",
	"zero byte":      "db1\x00",
	"blank":          " ",
	"upper case":     "servers/DB1",
	"no id":          "servers/",
	"other kind":     "wardens/db1",
	"two ids":        "servers/db1/db2",
	"url":            "http://169.254.169.254/latest",
	"substitution":   "$(reboot)",
	"backtick":       "`reboot`",
	"right to left":  "db\u202e1",
	"line separator": "db\u20281",
	"not UTF-8 like": "db\u0085",
	"semicolon":      "db1; reboot",
	"star":           "servers/*",
	"dot":            "servers/.",
	"wide digits":    "servers/db１",
}

// freeText are fields that may hold any line of text; they are refused only what no line may hold.
var freeText = map[string][]string{
	"reason": {"oversized", "newline", "newline name", "zero byte", "right to left",
		"line separator", "not UTF-8 like", "blank"},
	"label": {"oversized", "newline", "newline name", "zero byte", "right to left",
		"line separator", "not UTF-8 like"},
	"text": {"oversized", "newline", "newline name", "zero byte", "right to left",
		"line separator", "not UTF-8 like"},
	"actor": {"oversized", "newline", "newline name", "zero byte", "right to left",
		"line separator", "not UTF-8 like"},
	"method": {"oversized", "newline", "newline name", "zero byte", "right to left",
		"line separator", "not UTF-8 like"},
	// Output only: what a caller sends in them does not count.
	"state_reason": nil,
}

// required are the string fields that may not, by method.
var required = map[string][]string{
	"GetServer": {"name"}, "CreateServer": {"name"}, "CreateReplica": {"name"},
	"VerifyReplica": {"name"}, "RebuildReplica": {"name", "etag"}, "PurgeBinlogs": {"name"},
	"GrowServer": {"name"}, "RebootServer": {"name"}, "RotateReplicaCredentials": {"name"},
	"StopServer": {"name"}, "StartServer": {"name"}, "UpdateServer": {"server.name"},
	"DeleteServer": {"name", "etag"}, "DeleteSnapshot": {"name", "etag"}, "GetJob": {"name"},
	"GetSnapshot": {"name"}, "CreateSnapshot": {"server"}, "ListAttempts": {"name"},
	"WatchJob": {"name"}, "RetryJob": {"name"}, "CancelJob": {"name"}, "CleanupJob": {"name"},
	"RedoStep": {"name", "step", "reason"}, "SkipStep": {"name", "step", "reason"},
	"CompleteTask": {"id"}, "RefuseTask": {"id", "reason"}, "CreateJoinToken": {"server"},
	"Revoke": {"name"}, "CreateOperator": {"name"}, "ReadmitOperator": {"name"},
	"RevokeAgentGrant": {"id"}, "Login": {"id_token"}, "CreateAgentGrant": {"server", "reason"},
}

// sane is a request of each method that hygiene has nothing against.
func sane() map[string]proto.Message {
	const job = "jobs/01a20494-d160-738a-9eb3-bf50ac338cac"
	return map[string]proto.Message{
		"GetServer":      &cpv1.GetServerRequest{Name: "servers/db1"},
		"ListServers":    &cpv1.ListServersRequest{},
		"CreateServer":   &cpv1.CreateServerRequest{Name: "servers/db9"},
		"CreateReplica":  &cpv1.CreateReplicaRequest{Name: "servers/db9", Primary: "servers/db1"},
		"VerifyReplica":  &cpv1.VerifyReplicaRequest{Name: "servers/db1"},
		"RebuildReplica": &cpv1.RebuildReplicaRequest{Name: "servers/db1", Etag: "r1"},
		"RotateReplicaCredentials": &cpv1.RotateReplicaCredentialsRequest{
			Name: "servers/db1"},
		"PurgeBinlogs":   &cpv1.PurgeBinlogsRequest{Name: "servers/db1"},
		"GrowServer":     &cpv1.GrowServerRequest{Name: "servers/db1", SizeBytes: 4 << 30},
		"RebootServer":   &cpv1.RebootServerRequest{Name: "servers/db1", AllowPrimary: true},
		"StopServer":     &cpv1.StopServerRequest{Name: "servers/db1", AllowPrimary: true},
		"StartServer":    &cpv1.StartServerRequest{Name: "servers/db1"},
		"UpdateServer":   &cpv1.UpdateServerRequest{Server: &cpv1.Server{Name: "servers/db1"}},
		"DeleteServer":   &cpv1.DeleteServerRequest{Name: "servers/db1", Etag: "r1"},
		"GetSnapshot":    &cpv1.GetSnapshotRequest{Name: "snapshots/s1"},
		"ListSnapshots":  &cpv1.ListSnapshotsRequest{},
		"CreateSnapshot": &cpv1.CreateSnapshotRequest{Server: "servers/db1"},
		"DeleteSnapshot": &cpv1.DeleteSnapshotRequest{Name: "snapshots/s1", Etag: "r1"},
		"GetJob":         &cpv1.GetJobRequest{Name: job}, "ListJobs": &cpv1.ListJobsRequest{},
		"ListAttempts": &cpv1.ListAttemptsRequest{Name: job},
		"WatchJob":     &cpv1.WatchJobRequest{Name: job},
		"RetryJob":     &cpv1.RetryJobRequest{Name: job},
		"RedoStep": &cpv1.RedoStepRequest{Name: job,
			Step: "snapshot", Reason: "why"},
		"SkipStep":   &cpv1.SkipStepRequest{Name: job, Step: "snapshot", Reason: "why"},
		"CancelJob":  &cpv1.CancelJobRequest{Name: job},
		"CleanupJob": &cpv1.CleanupJobRequest{Name: job}, "ListEvents": &cpv1.ListEventsRequest{},
		"CheckProvider": &cpv1.CheckProviderRequest{}, "ListImages": &cpv1.ListImagesRequest{},
		"ListObjects": &cpv1.ListObjectsRequest{}, "ListTasks": &cpv1.ListTasksRequest{},
		"SweepProvider":      &cpv1.SweepProviderRequest{Ids: []string{"i-0123456789ab"}},
		"CompleteTask":       &cpv1.CompleteTaskRequest{Id: "task-0123456789ab"},
		"RefuseTask":         &cpv1.RefuseTaskRequest{Id: "task-0123456789ab", Reason: "why"},
		"CreateJoinToken":    &cpv1.CreateJoinTokenRequest{Server: "servers/db1"},
		"GetAuthority":       &cpv1.GetAuthorityRequest{},
		"GetAuthorityStatus": &cpv1.GetAuthorityStatusRequest{},
		"CheckJoinToken":     &cpv1.CheckJoinTokenRequest{Server: "db1"},
		"RotateAuthority": &cpv1.RotateAuthorityRequest{ValidateOnly: true,
			From: cpv1.AuthorityPhase_AUTHORITY_PHASE_SINGLE},
		"RequestIntermediate": &cpv1.RequestIntermediateRequest{},
		"InstallIntermediate": &cpv1.InstallIntermediateRequest{ChainPem: []byte("x")},
		"CheckAgent":          &cpv1.CheckAgentRequest{}, "Enroll": &cpv1.EnrollRequest{},
		"RenewExpired": &cpv1.RenewExpiredRequest{CertificatePem: []byte("x"),
			Csr: []byte("x")},
		"GetLoginIssuer":     &cpv1.GetLoginIssuerRequest{},
		"Login":              &cpv1.LoginRequest{IdToken: "a.b.c", Csr: []byte("x")},
		"ExchangeDeviceCode": &cpv1.ExchangeDeviceCodeRequest{DeviceCode: "d"},
		"ReadmitOperator":    &cpv1.ReadmitOperatorRequest{Name: "operators/ann"},
		"CreateOperator":     &cpv1.CreateOperatorRequest{Name: "operators/ann"},
		"ListJoinTokens":     &cpv1.ListJoinTokensRequest{},
		"ListOperators":      &cpv1.ListOperatorsRequest{},
		"BeginLogin":         &cpv1.BeginLoginRequest{Nonce: "n"},
		"UpdateOperator": &cpv1.UpdateOperatorRequest{Name: "operators/ann",
			Servers: []string{"shop-*"}},
		"GetVersion": &cpv1.GetVersionRequest{}, "RenewOperator": &cpv1.RenewOperatorRequest{},
		"ListAuditRecords":   &cpv1.ListAuditRecordsRequest{},
		"ExportAuditRecords": &cpv1.ExportAuditRecordsRequest{},
		"VerifyAudit":        &cpv1.VerifyAuditRequest{}, "Renew": &cpv1.RenewRequest{},
		"Revoke": &cpv1.RevokeRequest{Name: "servers/db1"},
		"CreateAgentGrant": &cpv1.CreateAgentGrantRequest{Server: "servers/db1",
			Duration: durationpb.New(time.Hour), Reason: "why"},
		"ListAgentGrants":  &cpv1.ListAgentGrantsRequest{},
		"RevokeAgentGrant": &cpv1.RevokeAgentGrantRequest{Id: "grant-0123456789ab"},
	}
}

// hostile is one bad request.
type hostile struct {
	what string
	req  proto.Message
}

// spoil makes all bad requests of a sane one.
func spoil(method string, from proto.Message) []hostile {
	var all []hostile
	add := func(what string, change func(protoreflect.Message)) {
		bad := proto.Clone(from)
		change(bad.ProtoReflect())
		all = append(all, hostile{method + " with " + what, bad})
	}
	for _, f := range paths(from.ProtoReflect().Descriptor(), "") {
		for what, change := range f.spoilers(method) {
			add(f.name+" "+what, change)
		}
	}
	return all
}

// field is a field of a request, in it or in a message of it.
type field struct {
	name string
	desc protoreflect.FieldDescriptor
	of   protoreflect.FieldDescriptor // the message that it is in; nil for the request itself
}

// inputs are the messages within requests whose fields callers set.
var inputs = map[protoreflect.FullName][]string{"understudy.controlplane.v1.Server": {"name",
	"etag"}, "google.protobuf.FieldMask": {"paths"},
	"understudy.controlplane.v1.DeleteConfirmation": {"name", "etag"}}

func paths(desc protoreflect.MessageDescriptor, _ string) []field {
	var all []field
	for i := range desc.Fields().Len() {
		f := desc.Fields().Get(i)
		if f.Kind() != protoreflect.MessageKind || f.IsMap() ||
			f.Message().FullName() == "google.protobuf.Duration" {
			all = append(all, field{name: string(f.Name()), desc: f})
			continue
		}
		for _, name := range inputs[f.Message().FullName()] {
			inner := f.Message().Fields().ByName(protoreflect.Name(name))
			all = append(all, field{name: string(f.Name()) + "." + name, desc: inner, of: f})
		}
	}
	return all
}

// set gives a change of the field.
func (f field) set(value func(protoreflect.Message)) func(protoreflect.Message) {
	return func(m protoreflect.Message) {
		if f.of != nil {
			m = m.Mutable(f.of).Message()
		}
		value(m)
	}
}

func (f field) to(v protoreflect.Value) func(protoreflect.Message) {
	return f.set(func(m protoreflect.Message) { m.Set(f.desc, v) })
}

func (f field) spoilers(method string) map[string]func(protoreflect.Message) {
	all := map[string]func(protoreflect.Message){}
	switch {
	case f.desc.IsMap():
		for what, text := range hostileTexts {
			all["key "+what] = f.set(func(m protoreflect.Message) {
				m.Mutable(f.desc).Map().Set(protoreflect.ValueOfString(text).MapKey(),
					protoreflect.ValueOfString("1"))
			})
		}
		for _, what := range []string{"oversized", "newline", "zero byte", "right to left"} {
			all["value "+what] = f.set(func(m protoreflect.Message) {
				m.Mutable(f.desc).Map().Set(protoreflect.ValueOfString("max_connections").MapKey(),
					protoreflect.ValueOfString(hostileTexts[what]))
			})
		}
	case f.desc.IsList() && f.desc.Kind() == protoreflect.EnumKind:
		for what, n := range map[string]protoreflect.EnumNumber{"unknown": 99, "negative": -1} {
			all[what] = f.set(func(m protoreflect.Message) {
				m.Mutable(f.desc).List().Append(protoreflect.ValueOfEnum(n))
			})
		}
	case f.desc.IsList():
		for what, text := range hostileTexts {
			all[what] = f.set(
				func(m protoreflect.Message) {
					m.Mutable(f.desc).List().Append(
						protoreflect.ValueOfString(text))
				})
		}
	case f.desc.Kind() == protoreflect.StringKind:
		f.spoilText(method, all)
	case f.desc.Kind() == protoreflect.EnumKind:
		all["unknown"] = f.to(protoreflect.ValueOfEnum(99))
		all["negative"] = f.to(protoreflect.ValueOfEnum(-1))
	case f.desc.Kind() == protoreflect.Int32Kind:
		all["negative"] = f.to(protoreflect.ValueOfInt32(-1))
		if f.name == "port" {
			all["too large"] = f.to(protoreflect.ValueOfInt32(65536))
		}
	case f.desc.Kind() == protoreflect.Int64Kind:
		all["negative"] = f.to(protoreflect.ValueOfInt64(-1))
		if strings.HasSuffix(f.name, "_bytes") {
			all["of one byte"] = f.to(protoreflect.ValueOfInt64(1))
			all["not of sectors"] = f.to(protoreflect.ValueOfInt64(1<<30 + 1))
			all["too large"] = f.to(protoreflect.ValueOfInt64(1 << 62))
		}
	case f.desc.Kind() == protoreflect.MessageKind: // a duration
		for what, d := range map[string]*durationpb.Duration{
			"negative": durationpb.New(-time.Second), "endless": durationpb.New(1000 * time.Hour),
			"invalid": {Seconds: 1, Nanos: -1}, "too short": durationpb.New(time.Microsecond),
		} {
			all[what] = f.to(protoreflect.ValueOfMessage(d.ProtoReflect()))
		}
	}
	return all
}

func (f field) spoilText(method string, all map[string]func(protoreflect.Message)) {
	allowed, free := freeText[string(f.desc.Name())]
	for what, text := range hostileTexts {
		if !free || contains(allowed, what) && !(what == "blank" && method == "Revoke") {
			all[what] = f.to(protoreflect.ValueOfString(text))
		}
	}
	if contains(required[method], f.name) {
		all["empty"] = f.to(protoreflect.ValueOfString(""))
	}
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// TestBadRequestsExecuteNothing sends every method every bad value in every field.
func TestBadRequestsExecuteNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.addServer("db1", "")
	before := p.fingerprint()
	sent := 0
	requests := sane()
	for method, desc := range methods() {
		from, ok := requests[string(desc.Name())]
		if !ok {
			t.Errorf("no request for %s", method)
			continue
		}
		for _, bad := range spoil(string(desc.Name()), from) {
			sent++
			err := p.send(method, desc, bad.req)
			if !refusedAsBad(string(desc.Name()), err) {
				t.Errorf("%s: %v", bad.what, err)
			}
		}
	}
	if sent < 1000 {
		t.Errorf("%d bad requests were sent, 1,000 are wanted", sent)
	}
	if after := p.fingerprint(); after != before {
		t.Errorf("bad requests changed the records from\n%s\nto\n%s", before, after)
	}
	if n := p.changes(); n != 0 {
		t.Errorf("bad requests changed the provider %d times", n)
	}
}

// refusedAsBad says whether the error is the right one for a bad request.
func refusedAsBad(method string, err error) bool {
	if err == nil {
		return false
	}
	kind := errs.KindOf(err)
	// an operator may not call them at all
	if slices.Contains(slices.Concat(forMachines, forAgents), method) {
		return kind == errs.PermissionDenied
	}
	return kind == errs.InvalidArgument &&
		(len(errs.FieldsOf(err)) > 0 || strings.Contains(err.Error(), "marshal")) ||
		kind == errs.PermissionDenied
}

// send calls a method by its name and returns its error.
func (p *plane) send(method string, desc protoreflect.MethodDescriptor, req proto.Message) error {
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	resp := dynamicpb.NewMessage(desc.Output())
	if !desc.IsStreamingServer() {
		return p.conn.Invoke(ctx, method, req, resp)
	}
	stream, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		err = errors.Join(stream.SendMsg(req), stream.CloseSend())
	}
	if err == nil {
		err = stream.RecvMsg(resp)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// methods are all of the control plane's, by full name.
func methods() map[string]protoreflect.MethodDescriptor { return authztest.Methods(files()...) }

func files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		cpv1.File_understudy_controlplane_v1_server_service_proto,
		cpv1.File_understudy_controlplane_v1_snapshot_service_proto,
		cpv1.File_understudy_controlplane_v1_job_service_proto,
		cpv1.File_understudy_controlplane_v1_provider_service_proto,
		cpv1.File_understudy_controlplane_v1_enrollment_service_proto,
		cpv1.File_understudy_controlplane_v1_control_plane_service_proto,
		cpv1.File_understudy_controlplane_v1_audit_service_proto,
	}
}

// fingerprint is all that a request could have changed.
func (p *plane) fingerprint() string {
	var all []string
	servers, err := p.servers().ListServers(p.t.Context(),
		&cpv1.ListServersRequest{ShowDeleted: true})
	if err != nil {
		p.t.Fatal(err)
	}
	jobs, err := p.jobs().ListJobs(p.t.Context(), &cpv1.ListJobsRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	events, err := p.jobs().ListEvents(p.t.Context(), &cpv1.ListEventsRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range servers.GetServers() {
		all = append(all, s.GetName()+" "+s.GetEtag())
	}
	for _, j := range jobs.GetJobs() {
		all = append(all, j.GetName())
	}
	for _, e := range events.GetEvents() {
		all = append(all, e.GetAction()+" "+e.GetSubject())
	}
	return strings.Join(all, "\n")
}
