// Package authztest holds the rules of a program to its proto files, to the page that shows them,
// and to a server that runs.
package authztest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/understudy-db/understudy/proto/rpc/authz"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	"github.com/understudy-db/understudy/proto/rpc/identity"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const patience = time.Minute

// Methods are the methods of the files, by full name.
func Methods(files ...protoreflect.FileDescriptor) map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				all[fmt.Sprintf("/%s/%s", service.FullName(), m.Name())] = m
			}
		}
	}
	return all
}

// Sound sees that there is a rule for each method, that an operator may do what one of a lesser
// role may, and that a viewer may call nothing that has an effect or that answers with a secret.
// Except are methods that a viewer calls in spite of their effect.
func Sound(t *testing.T, rules authz.Table, methods map[string]protoreflect.MethodDescriptor,
	except ...string) {
	t.Helper()
	if err := authz.Complete(rules, slices.Collect(maps.Keys(methods))); err != nil {
		t.Error(err)
	}
	for method, roles := range rules {
		may := func(role identity.Role) bool { return slices.Contains(roles, role) }
		if may(identity.RoleViewer) && !may(identity.RoleOperator) ||
			may(identity.RoleOperator) && !may(identity.RoleAdmin) {
			t.Errorf("%s: a greater role may not what a lesser one may: %v", method, roles)
		}
		desc, known := methods[method]
		if !known || !may(identity.RoleViewer) {
			continue
		}
		options, _ := desc.Options().(*descriptorpb.MethodOptions)
		if options.GetIdempotencyLevel() != descriptorpb.MethodOptions_NO_SIDE_EFFECTS &&
			!slices.Contains(except, method) {
			t.Errorf("a viewer may call %s, which has an effect", method)
		}
		if secret := secretIn(desc.Output(), map[protoreflect.FullName]bool{}); secret != "" {
			t.Errorf("a viewer may call %s, which answers with the secret %s", method, secret)
		}
	}
}

// secretIn is a field of the message, or of one in it, that is redacted where it is printed.
func secretIn(msg protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) string {
	if seen[msg.FullName()] {
		return ""
	}
	seen[msg.FullName()] = true
	for i := range msg.Fields().Len() {
		field := msg.Fields().Get(i)
		if options, _ := field.Options().(*descriptorpb.FieldOptions); options.GetDebugRedact() {
			return string(field.FullName())
		}
		if field.Message() != nil {
			if found := secretIn(field.Message(), seen); found != "" {
				return found
			}
		}
	}
	return ""
}

// Held calls every method over each role's connection: the server refuses what the rules do not
// allow, with a hint that names who may, and nothing else for that reason. Requests are empty, so
// that a call that is allowed does nothing.
func Held(t *testing.T, rules authz.Table, methods map[string]protoreflect.MethodDescriptor,
	as map[identity.Role]*grpc.ClientConn) {
	t.Helper()
	for method, desc := range methods {
		for role, conn := range as {
			err := Call(t, conn, method, desc)
			switch {
			case slices.Contains(rules[method], role):
				if notAllowed(err) {
					t.Errorf("%s may call %s: %v", role, method, err)
				}
			case role == identity.RoleAnonymous:
				if !errors.Is(err, errs.Unauthenticated) {
					t.Errorf("nobody calls %s: %v", method, err)
				}
			case !notAllowed(err):
				t.Errorf("%s calls %s: %v", role, method, err)
			default:
				hint := errs.HintOf(err).String()
				for _, may := range rules[method] {
					if !strings.Contains(hint, string(may)) {
						t.Errorf("%s may call %s, and the hint is %q", may, method, hint)
					}
				}
			}
		}
	}
}

// notAllowed is a refusal by the rules: other refusals have other reasons.
func notAllowed(err error) bool {
	return errors.Is(err, errs.PermissionDenied) &&
		errs.ReasonOf(err) == errorsv1.Reason_REASON_NOT_ALLOWED ||
		errors.Is(err, errs.Unauthenticated)
}

// Call makes one call with an empty request, and reads one answer.
func Call(t *testing.T, conn *grpc.ClientConn, method string,
	desc protoreflect.MethodDescriptor) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(dynamicpb.NewMessage(desc.Input())); err != nil &&
		!errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	err = stream.RecvMsg(dynamicpb.NewMessage(desc.Output()))
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
