package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newProviderRefuse(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.RefuseTaskRequest{}, &cobra.Command{
		Use: "refuse TASK --reason WHY", Short: "Report that a manual task will not be done",
		Long: `Report that a manual task will not be done, and why. The job that needs it fails
with that reason; "job retry" asks again.`,
		Example: `  understudy provider refuse task-1f0c52a9be31 --reason 'no room in rack 4'
  understudy provider tasks --all`,
	}, "id")
	v.flag("reason", "reason", "`WHY`; it is recorded")
	return answer(v, (*api).RefuseTask, func(_ show.Style, answer *cpv1.RefuseTaskResponse) string {
		return show.Clean(answer.GetTask().GetId()) + " is refused\n"
	})
}
