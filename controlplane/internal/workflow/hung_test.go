package workflow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/replicate"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

// A volume that hangs in its attachment is taken off after minutes, and attached again.
func TestAttachmentThatHangsIsMadeAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := workflowtest.NewWorld(t)
		w.Cloud.Hangs = 2
		j := w.Start().Run().Must(primary{Server: "db1"})
		step, _ := j.Step("swap_volume")
		again := slices.DeleteFunc(slices.Clone(step.Changed), func(line string) bool {
			return !strings.Contains(line, "was not attached after 3m")
		})
		if len(again) == 0 || w.Cloud.Hangs != 0 {
			t.Errorf("%d to hang, the step changed %q", w.Cloud.Hangs, step.Changed)
		}
	})
}

// One that the provider dates by another clock does not hang for that.
func TestAttachmentDatedByAnotherClock(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := workflowtest.NewWorld(t)
		w.Cloud.Behind = time.Hour
		j := w.Start().Run().Must(primary{Server: "db1"})
		step, _ := j.Step("swap_volume")
		if slices.ContainsFunc(step.Changed, func(line string) bool {
			return strings.Contains(line, "was not attached")
		}) {
			t.Errorf("the step changed %q", step.Changed)
		}
	})
}

// A copy that is read for the first time is slow: its mount has more time than the longest call of
// an agent.
func TestMountOfACopyMayTakeHours(t *testing.T) {
	bubble(t, func(t *testing.T) {
		engine := workflowtest.NewWorld(t).Start().Engine
		for _, kind := range []string{replicate.KindCreateReplica, replicate.KindRebuildReplica} {
			plan, _ := engine.Plan(kind)
			at := slices.IndexFunc(plan.Steps, func(s job.PlanStep[kit.Records]) bool {
				return s.Kind == "mount_data"
			})
			if at < 0 || plan.Steps[at].AttemptTimeout < 7*time.Hour {
				t.Errorf("%s: mount_data is step %d, with too little time", kind, at)
			}
		}
	})
}
