package audit_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/understudy-db/understudy/proto/rpc/audit"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func TestParameters(t *testing.T) {
	t.Parallel()
	key := audit.Key("key")
	for want, request := range map[string]proto.Message{
		`"ttl":"3600s"`: &cpv1.CreateJoinTokenRequest{Server: "servers/db1",
			Ttl: durationpb.New(time.Hour)},
		`"agent_csr":"sha256:`: &cpv1.EnrollRequest{AgentCsr: []byte("secret bytes")},
		`"role":"OPERATOR_ROLE_ADMIN"`: &cpv1.CreateOperatorRequest{
			Role: cpv1.OperatorRole_OPERATOR_ROLE_ADMIN},
		`"token":"` + key.Hash([]byte("t0ken")): &cpv1.EnrollRequest{
			Proof: &cpv1.EnrollRequest_Token{Token: "t0ken"}},
		`"password":"` + key.Hash([]byte("hunter2")): &agentv1.ConfigureReplicaRequest{
			Password: "hunter2"},
		`"wsrep_sst_auth":"` + key.Hash([]byte("hunter2")): &agentv1.SetConfigurationRequest{
			Options: map[string]string{"wsrep_sst_auth": "hunter2", "max_connections": "100"}},
		`"content":"` + key.Hash([]byte("hunter2")): &agentv1.SetDropInRequest{Unit: "mariadb",
			Content: "hunter2"},
		`… (9000 bytes, hmac-sha256:`: &cpv1.EnrollRequest{Server: strings.Repeat("x", 9000)},
	} {
		got := string(audit.Parameters(request, key))
		if !strings.Contains(got, want) || strings.Contains(got, "secret bytes") ||
			strings.Contains(got, "t0ken") || strings.Contains(got, "hunter2") ||
			!json.Valid([]byte(got)) {
			t.Errorf("%s, want %s in it", got, want)
		}
	}
	if got := audit.Parameters(nil, key); got != nil {
		t.Errorf("of nothing: %s", got)
	}
	var many cpv1.ListJobsRequest
	for range 1000 {
		many.Kinds = append(many.Kinds, cpv1.Job_KIND_VERIFY_REPLICA)
	}
	if got := audit.Parameters(&many, key); !strings.Contains(string(got), "… and 950 more") {
		t.Errorf("a long list: %s", got)
	}
}

func TestParametersAreBounded(t *testing.T) {
	t.Parallel()
	var large agentv1.SetConfigurationRequest
	fill(large.ProtoReflect(), 3)
	got := audit.Parameters(&large, audit.Key("key"))
	if len(got) > 8<<10 || !json.Valid(got) {
		t.Errorf("%d bytes", len(got))
	}
}

// fill sets every field to something long.
func fill(msg protoreflect.Message, depth int) {
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		switch field := fields.Get(i); {
		case field.IsMap():
		case field.IsList() && field.Kind() == protoreflect.StringKind:
			for range 100 {
				msg.Mutable(field).List().Append(protoreflect.ValueOfString(
					strings.Repeat("x", 1000)))
			}
		case field.IsList():
		case field.Kind() == protoreflect.StringKind:
			msg.Set(field, protoreflect.ValueOfString(strings.Repeat("x", 1000)))
		case field.Message() != nil && depth > 0:
			fill(msg.Mutable(field).Message(), depth-1)
		}
	}
}

var (
	secretName = regexp.MustCompile(`password|secret|private|token|credential|(^|_)key$`)
	noSecret   = map[string]bool{"page_token": true, "fencing_token": true, "effect_key": true,
		"next_page_token": true, "join_tokens": true}
)

// A field whose name says that it is a secret is one that the audit has the hash of.
func TestSecretsAreDeclared(t *testing.T) {
	t.Parallel()
	seen := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("understudy.agent.v1", check(t, &seen))
	protoregistry.GlobalFiles.RangeFilesByPackage("understudy.controlplane.v1", check(t, &seen))
	if seen < 4 {
		t.Errorf("%d secrets", seen)
	}
}

func check(t *testing.T, seen *int) func(protoreflect.FileDescriptor) bool {
	return func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			fields := file.Messages().Get(i).Fields()
			for j := range fields.Len() {
				field := fields.Get(j)
				options, _ := field.Options().(*descriptorpb.FieldOptions)
				if options.GetDebugRedact() {
					*seen++
				} else if name := string(field.Name()); secretName.MatchString(name) &&
					!noSecret[name] {
					t.Errorf("%s is not declared as a secret (debug_redact)", field.FullName())
				}
			}
		}
		return true
	}
}
