package scope

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/authz/authztest"
	"github.com/understudy-db/understudy/proto/rpc/limits"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
	limitsv1 "github.com/understudy-db/understudy/proto/understudy/limits/v1"
)

func methods() map[string]protoreflect.MethodDescriptor {
	return authztest.Methods(cpv1.File_understudy_controlplane_v1_server_service_proto,
		cpv1.File_understudy_controlplane_v1_snapshot_service_proto,
		cpv1.File_understudy_controlplane_v1_job_service_proto,
		cpv1.File_understudy_controlplane_v1_provider_service_proto,
		cpv1.File_understudy_controlplane_v1_enrollment_service_proto,
		cpv1.File_understudy_controlplane_v1_control_plane_service_proto,
		cpv1.File_understudy_controlplane_v1_audit_service_proto)
}

// Every method has a rule, of fields that it has, and a rule looks at every field of a request that
// names a server, a snapshot or a job.
func TestEveryMethodHasARule(t *testing.T) {
	t.Parallel()
	rules := Rules()
	for method := range rules {
		if _, there := methods()[method]; !there {
			t.Errorf("%s is no method", method)
		}
	}
	for method, desc := range methods() {
		rule, classified := rules[method]
		if !classified {
			t.Errorf("%s has no rule: say what it is for an operator with a scope", method)
			continue
		}
		for _, path := range rule.fields() {
			if within(desc.Input(), path) == nil {
				t.Errorf("%s has no field %s", method, path)
			}
		}
		if rule.Lists {
			if within(desc.Output(), "next_page_token") == nil {
				t.Errorf("%s has no pages", method)
			}
			continue // its filters narrow what is in scope
		}
		if rule.isRefused() {
			continue
		}
		for _, path := range naming(desc.Input(), "") {
			// It is compared with the name of the job's own server.
			if !slices.Contains(rule.fields(), path) && path != "confirm_delete.name" {
				t.Errorf("%s: nothing looks at %s", method, path)
			}
		}
	}
}

// within is a field of a message, or of one in it.
func within(msg protoreflect.MessageDescriptor, path string) protoreflect.FieldDescriptor {
	name, rest, nested := strings.Cut(path, ".")
	field := msg.Fields().ByName(protoreflect.Name(name))
	if field != nil && nested {
		return within(field.Message(), rest)
	}
	return field
}

// naming are the fields of a request that name something of a server.
func naming(msg protoreflect.MessageDescriptor, prefix string) (paths []string) {
	for i := range msg.Fields().Len() {
		field := msg.Fields().Get(i)
		switch limits.Of(field).Format() {
		case limitsv1.Format_FORMAT_SERVER, limitsv1.Format_FORMAT_SNAPSHOT,
			limitsv1.Format_FORMAT_JOB, limitsv1.Format_FORMAT_RESOURCE,
			limitsv1.Format_FORMAT_CERTIFIED:
			paths = append(paths, prefix+string(field.Name()))
		}
		if nested := field.Message(); nested != nil && !field.IsMap() && prefix == "" {
			paths = append(paths, naming(nested, string(field.Name())+".")...)
		}
	}
	return paths
}
