package workflow_test

import (
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

type (
	world            = workflowtest.World
	process          = workflowtest.Process
	host             = workflowtest.Host
	disk             = workflowtest.Disk
	primary          = workflowtest.Primary
	replica          = workflowtest.Replica
	snapshotOf       = workflowtest.SnapshotOf
	deletion         = workflowtest.Deletion
	snapshotDeletion = workflowtest.SnapshotDeletion
	verification     = workflowtest.Verification
)

var asTester = job.ChangeRequest{Who: "tester"}

// lab is a world with a primary that has data.
func lab(t *testing.T) (*world, *process) { t.Helper(); return workflowtest.Lab(t) }

// succeeded fails the test unless the job succeeded.
func succeeded(t *testing.T, j job.Job) job.Job { t.Helper(); return workflowtest.Succeeded(t, j) }

// states are the job's steps with what they say, one line each.
func states(j job.Job) string { return workflowtest.States(j) }

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, test func(t *testing.T)) { t.Helper(); workflowtest.Bubble(t, test) }

// bubbles is bubble for one case of several.
func bubbles(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	workflowtest.Bubbles(t, name, test)
}
