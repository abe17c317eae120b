package workflow_test

import (
	"slices"
	"strings"
	"testing"

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
