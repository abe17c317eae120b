package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newServerPurgeBinlogs(c *cli) *cobra.Command {
	req := &cpv1.PurgeBinlogsRequest{}
	v := newVerb(c, req, &cobra.Command{
		Use: "purge-binlogs NAME", Short: "Delete binary logs that no replica needs",
		Long: `Delete the binary logs of a server up to what every replica has applied and
every reservation allows. The newest one always stays. The job shows how many
were deleted, and what keeps the others.

Nothing is deleted when it is not known what a replica has applied. A snapshot
from before the logs that are left cannot become a replica any more; take a new
one for that.

--ignore-replica purges without regard to a replica. It must be made again when
it has not applied what is deleted. The command asks for the server's name then;
--yes answers for scripts.`,
		Example: `  understudy server purge-binlogs db1 --dry-run
  understudy server purge-binlogs db1
  understudy server purge-binlogs db1 --ignore-replica db3`,
	}, "name")
	var yes bool
	v.flag("ignore_replicas", "ignore-replica",
		"replica `NAME` whose needs do not count, several with commas")
	v.cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask about --ignore-replica")
	asks := func() bool {
		return len(req.GetIgnoreReplicas()) > 0 && !yes && !req.GetValidateOnly()
	}
	v.mustAsk(asks)
	return jobVerb(v, (*api).PurgeBinlogs, jobParts{prepare: func(ctx context.Context,
		_ *api) error {
		if !asks() {
			return nil
		}
		var ignored []string
		for _, name := range req.GetIgnoreReplicas() {
			ignored = append(ignored, show.ID(name))
		}
		return c.ask(ctx, "This may delete binary logs that "+strings.Join(ignored, ", ")+
			" has not applied; it must be made again then.", show.ID(req.GetName()))
	}})
}
