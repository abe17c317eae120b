package kit

import (
	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// Hint is what helps against an error: one imperative sentence, and the calls that do it.
func Hint(text string, calls ...errs.Action) errs.Hint {
	return errs.Hint{Text: text, Actions: calls}
}

// RetryThis has the job go on.
func RetryThis() errs.Action { return errs.Call("RetryJob", "name", job.ThisJob) }

// RetryStep runs one step of a job alone, of this one when the id is empty.
func RetryStep(jobID, step string) errs.Action {
	name := job.ThisJob
	if jobID != "" {
		name = "jobs/" + jobID
	}
	return errs.Call("RetryJob", "name", name, "step", step)
}

// RedoThis does a step of this job and those after it once more, with new effects.
func RedoThis(step string) errs.Action {
	return errs.Call("RedoStep", "name", job.ThisJob, "step", step)
}

// CleanUpThis removes what this job has made.
func CleanUpThis() errs.Action { return errs.Call("CleanupJob", "name", job.ThisJob) }

// Remove removes a server: what this job has made, or what another one did.
func (c *Call) Remove(srv inventory.Server) errs.Action {
	if srv.Name == c.Making() && len(c.kinds[c.JobKind].Cleanup) > 0 {
		return CleanUpThis()
	}
	return errs.Call("DeleteServer", "name", srv.Subject())
}

// Rebuild makes a replica again, on a new volume from a new snapshot.
func Rebuild(server string) errs.Action {
	return errs.Call("RebuildReplica", "name", inventory.ServerSubject(server))
}

// Rotate gets a replica a new certificate, and has it sign in with that.
func Rotate(server string) errs.Action {
	return errs.Call("RotateReplicaCredentials", "name", inventory.ServerSubject(server))
}

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
