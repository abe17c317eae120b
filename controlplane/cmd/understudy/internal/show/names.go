package show

import (
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// ID is the last part of a resource's name, as the commands take it: "db1" for "servers/db1".
func ID(name string) string {
	name = Clean(name)
	return name[strings.LastIndex(name, "/")+1:]
}

// JobState is a job's state in capitals, "SUCCEEDED".
func JobState(s cpv1.Job_State) string { return strings.TrimPrefix(s.String(), "STATE_") }

// StepState is a step's state in capitals, "SUCCEEDED".
func StepState(s cpv1.Step_State) string { return strings.TrimPrefix(s.String(), "STATE_") }

// words is a state in lower case, for sentences: "needs person".
func words(state string) string { return strings.ToLower(strings.ReplaceAll(state, "_", " ")) }

// clock is a point in time as people read it, in their own zone; "" for none.
func clock(t *timestamppb.Timestamp) string {
	if t.GetSeconds() == 0 {
		return ""
	}
	return t.AsTime().Local().Format("2006-01-02 15:04:05 MST")
}
