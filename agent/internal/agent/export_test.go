package agent

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/understudy-db/understudy/proto/rpc/authz"
)

// Rules are the agent's own, for tests of a whole agent.
func Rules() (authz.Table, error) { return rules() }

// Served are its methods.
func Served() map[string]protoreflect.MethodDescriptor { return served() }
