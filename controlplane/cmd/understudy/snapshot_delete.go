package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func newSnapshotDelete(c *cli) *cobra.Command {
	v := newVerb(c, &cpv1.DeleteSnapshotRequest{}, &cobra.Command{
		Use: "delete SNAPSHOT", Aliases: []string{"rm"}, Short: "Delete a snapshot",
		Long: `Delete a snapshot at the provider. Replicas that were made from it stay; while
one is being made from it, deleting is refused.

The command asks for the snapshot's name; --yes answers for scripts.`,
		Example: `  understudy snapshot delete snap-4f7a0c1d2e3f
  understudy snapshot delete snap-4f7a0c1d2e3f --yes`,
	}, "name")
	return deleteVerb(v, (*api).DeleteSnapshot, getSnapshot, func(s *cpv1.Snapshot) string {
		return fmt.Sprintf("This deletes the snapshot %s of %s (%s).", show.ID(s.GetName()),
			show.ID(s.GetServer()), trimEnum(s.GetState()))
	})
}
