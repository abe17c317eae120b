package workflow_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
)

// snapshotIn is the id of the snapshot that a job is about.
func snapshotIn(t testing.TB, j job.Job) string {
	t.Helper()
	var args kit.SnapshotArgs
	if err := json.Unmarshal(j.Args, &args); err != nil {
		t.Fatal(err)
	}
	return args.Snapshot
}

func TestArgsRefuseAllThatIsWrongAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := workflowtest.NewWorld(t)
		p := w.Start()
		for name, c := range map[string]struct {
			what  workflowtest.Asked
			parts []string
		}{
			"a replica": {replica{Server: "db2", Verify: "maybe"},
				[]string{"verify", "primary"}},
			"a snapshot": {snapshotOf{Source: "db1", QuiesceLimit: 61 * time.Second},
				[]string{"quiesce_limit"}},
		} {
			_, err := p.Request(t.Context(), c.what)
			for _, part := range c.parts {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %s is not in: %v", name, part, err)
				}
			}
		}
	})
}
