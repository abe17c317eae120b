package workflow_test

import (
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
	"github.com/understudy-db/understudy/controlplane/internal/job"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
	"github.com/understudy-db/understudy/controlplane/internal/workflow/workflowtest"
	"github.com/understudy-db/understudy/proto/rpc/errs"
)

// TestAgentsOfTwoVersionsAreRefusedBeforeAnythingIsDone asks for a proof that no agents of two
// versions can give: of a replica that is there in the plan, else as soon as its agent is known.
func TestAgentsOfTwoVersionsAreRefusedBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		primary, replica int
		older            string // empty: none
	}{
		"the replica's is older":               {3, 2, "db2"},
		"the primary's is older":               {2, 3, "db1"},
		"the replica's does not tell":          {2, 0, "db2"},
		"of one version":                       {2, 2, ""},
		"one tells, and both are of the first": {1, 0, ""},
		"neither tells":                        {0, 0, ""},
	} {
		for kind, ask := range map[string]workflowtest.Asked{
			"plan":  rebuild{Server: "db2"},
			"check": verification{Replica: "db2", Level: inventory.VerifyPosition},
		} {
			bubbles(t, name+": "+kind, func(t *testing.T) {
				w, p, _ := again(t)
				w.Mu.Lock()
				w.Hosts["db1"].Digests, w.Hosts["db2"].Digests = c.primary, c.replica
				w.Mu.Unlock()
				_, err := p.Flow.DryRun(t.Context(), kit.Request{Args: ask.Args()})
				if c.older == "" {
					if err != nil {
						t.Errorf("the dry run refuses it: %v", err)
					}
					return
				}
				if err == nil || !strings.Contains(errs.HintOf(err).Text,
					"upgrade understudy-agent on "+c.older+",") {
					t.Errorf("the dry run: %v, hint %q", err, errs.HintOf(err).Text)
				}
				p.Run()
				j := p.End(p.Ask(ask).ID)
				if s, _ := j.Step(kind); s.Failure == nil || s.Failure.Reason != "UNIMPLEMENTED" {
					t.Errorf("job is %s\n%s", j.State, states(j))
				}
			})
		}
	}
}

// TestAnImageWhoseAgentIsOlderIsRefusedBeforeItGetsAVolume: its agent is not known before.
func TestAnImageWhoseAgentIsOlderIsRefusedBeforeItGetsAVolume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, _, j := planted(t, func(w *world, _ *process) { w.Hosts["db1"].Digests = 2 })
		s, _ := j.Step("await_agent")
		if j.State != job.Failed || s.Failure == nil || s.Failure.Reason != "UNIMPLEMENTED" ||
			!strings.Contains(s.Failure.Message, "that of db2 is older") {
			t.Errorf("job is %s: %+v\n%s", j.State, s.Failure, states(j))
		}
		if h := w.Host("db2"); h.File != nil || h.Running != nil {
			t.Errorf("the host was changed: %+v", h)
		}
	})
}
