package kit

import (
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// thisJob stands in a hint for the job whose step says it; see explain.
const thisJob = "jobs/-"

// Hint is what helps against an error: one imperative sentence, and the calls that do it.
func Hint(text string, calls ...errs.Action) errs.Hint {
	return errs.Hint{Text: text, Actions: calls}
}

// RetryThis has the job go on.
func RetryThis() errs.Action { return errs.Call("RetryJob", "name", thisJob) }

// RetryStep runs one step of a job alone, of this one when the job is empty.
func RetryStep(job, step string) errs.Action {
	name := thisJob
	if job != "" {
		name = "jobs/" + job
	}
	return errs.Call("RetryJob", "name", name, "step", step)
}

// RedoThis does a step of this job and those after it once more, with new effects.
func RedoThis(step string) errs.Action {
	return errs.Call("RedoStep", "name", thisJob, "step", step)
}

// CleanUpThis removes what this job has made.
func CleanUpThis() errs.Action { return errs.Call("CleanupJob", "name", thisJob) }

// GetServer reads a server.
func GetServer(name string) errs.Action {
	return errs.Call("GetServer", "name", inventory.ServerSubject(name))
}

// GetSnapshot reads a snapshot.
func GetSnapshot(id string) errs.Action {
	return errs.Call("GetSnapshot", "name", inventory.SnapshotSubject(id))
}

// TakeSnapshot takes a snapshot of a server.
func TakeSnapshot(server string) errs.Action {
	return errs.Call("CreateSnapshot", "server", inventory.ServerSubject(server))
}

// named is the hint with the job's name in the calls that are on it.
func named(h errs.Hint, jobID string) errs.Hint {
	named := errs.Hint{Text: h.Text}
	for _, a := range h.Actions {
		fields := []string{}
		for field, value := range a.Args {
			if value == thisJob {
				value = "jobs/" + jobID
			}
			fields = append(fields, field, value)
		}
		named.Actions = append(named.Actions, errs.Call(a.Method, fields...))
	}
	return named
}
