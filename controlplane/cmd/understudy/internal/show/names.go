package show

import (
	"strings"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

// ID is the last part of a resource's name, as the commands take it: "db1" for "servers/db1".
func ID(name string) string {
	name = Clean(name)
	return name[strings.LastIndex(name, "/")+1:]
}

// Identities is what all identities begin with.
const Identities = "spiffe://understudy/"

// Who is who asked for something, without what all identities have in common: "operator/alice", or
// the job "jobs/x".
func Who(actor string) string { return strings.TrimPrefix(Clean(actor), Identities) }

// JobState is a job's state in capitals, "SUCCEEDED".
func JobState(s cpv1.Job_State) string { return strings.TrimPrefix(s.String(), "STATE_") }

// StepState is a step's state in capitals, "SUCCEEDED".
func StepState(s cpv1.Step_State) string { return strings.TrimPrefix(s.String(), "STATE_") }

// words is a state in lower case, for sentences: "action required".
func words(state string) string { return strings.ToLower(strings.ReplaceAll(state, "_", " ")) }
