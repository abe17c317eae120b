package agent

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Served are the agent's methods, for tests of a whole agent.
func Served() map[string]protoreflect.MethodDescriptor { return served() }
