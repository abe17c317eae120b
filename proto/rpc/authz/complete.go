package authz

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/identity"
)

// Complete says whether table and methods fit: no method without a rule, no rule without a method,
// no rule without a role or with a role that there is not. Tests call it with
// MethodsOf(descriptors), servers with MethodsServed.
func Complete(table Table, methods []string) error {
	var wrong []error
	for _, method := range methods {
		if _, ok := table[method]; !ok {
			wrong = append(wrong, fmt.Errorf("no access rule for %s", method))
		}
	}
	for _, method := range slices.Sorted(maps.Keys(table)) {
		if !slices.Contains(methods, method) {
			wrong = append(wrong, fmt.Errorf("access rule for %s, which is not there", method))
		}
		wrong = append(wrong, checkRoles(method, table[method]))
	}
	return errors.Join(wrong...)
}

func checkRoles(method string, roles []identity.Role) error {
	if len(roles) == 0 {
		return fmt.Errorf("access rule for %s names no role", method)
	}
	for _, role := range roles {
		switch role {
		case identity.RoleAnonymous, identity.RoleAgent, identity.RoleControlPlane,
			identity.RoleViewer, identity.RoleOperator, identity.RoleAdmin,
			identity.RoleBreakGlass:
		default:
			return fmt.Errorf("access rule for %s names the unknown role %q", method, role)
		}
	}
	return nil
}

// MethodsOf is the full names of all methods in the files, for example
// agentv1.File_understudy_agent_v1_mount_service_proto.
func MethodsOf(files ...protoreflect.FileDescriptor) []string {
	var methods []string
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				methods = append(methods,
					fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(j).Name()))
			}
		}
	}
	slices.Sort(methods)
	return methods
}

// MethodsServed is the full names of all methods that are registered at the server.
func MethodsServed(server interface {
	GetServiceInfo() map[string]grpc.ServiceInfo
}) []string {
	var methods []string
	for service, info := range server.GetServiceInfo() {
		for _, method := range info.Methods {
			methods = append(methods, fmt.Sprintf("/%s/%s", service, method.Name))
		}
	}
	slices.Sort(methods)
	return methods
}
