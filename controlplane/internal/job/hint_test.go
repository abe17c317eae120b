package job

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// TestNoHintToCancelWhatCannotBe: a job that fails, or is cleaned up, refuses that as well.
func TestNoHintToCancelWhatCannotBe(t *testing.T) {
	t.Parallel()
	for name, j := range map[string]Job{
		"running":    {State: Running, Mode: Forward},
		"failing":    {State: Running, Mode: Unwind, Target: Failed},
		"cancelling": {State: Cancelling, Mode: Unwind, Target: Cancelled},
		"cleaned up": {State: Waiting, Mode: Cleanup},
	} {
		hint := errs.HintOf(newFSM(&j, time.Now()).retry())
		cancels := slices.ContainsFunc(hint.Actions,
			func(a errs.Action) bool { return a.Method == "CancelJob" })
		if cancels != (name == "running") || hint.Empty() {
			t.Errorf("%s: %+v", name, hint)
		}
	}
}
