package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newSnapshotDelete() *cobra.Command {
	f := &deleteFlags{}
	cmd := &cobra.Command{
		Use: "delete SNAPSHOT", Aliases: []string{"rm"}, Short: "Delete a snapshot",
		Args: words([]string{"SNAPSHOT"}),
		Long: `Delete a snapshot at the provider. Replicas that were made from it stay; while
one is being made from it, deleting is refused.

The command asks for the snapshot's name; --yes answers for scripts.`,
		Example: `  understudy snapshot delete snap-4f7a0c1d2e3f
  understudy snapshot delete snap-4f7a0c1d2e3f --yes`,
		ValidArgsFunction: c.complete(c.snapshotIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			return c.deleteSnapshot(ctx, f, args[0])
		}),
	}
	f.add(cmd)
	return cmd
}

func (c *cli) deleteSnapshot(ctx context.Context, f *deleteFlags, text string) error {
	name, err := resourceName(snapshotKind, text)
	if err != nil {
		return err
	}
	requestID, err := f.id()
	if err != nil {
		return err
	}
	return c.delete(ctx, f, deletion{name: name,
		read: func(ctx context.Context, a *api) (string, string, error) {
			s, err := getSnapshot(ctx, a, name)
			return fmt.Sprintf("This deletes the snapshot %s of %s (%s).", show.ID(name),
				show.ID(s.GetServer()), trimEnum(s.GetState())), s.GetEtag(), err
		},
		send: func(ctx context.Context, a *api, etag string) (*cpv1.Job, error) {
			answer, err := a.snapshots.DeleteSnapshot(ctx, &cpv1.DeleteSnapshotRequest{Name: name,
				Etag: etag, RequestId: requestID, ValidateOnly: f.dryRun})
			return answer.GetJob(), err
		}})
}
