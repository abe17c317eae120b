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
		Use: "delete SNAPSHOT", Aliases: []string{"rm"}, Short: "Delete a snapshot at the provider",
		Args: words([]string{"SNAPSHOT"}),
		Long: `Delete a snapshot at the provider. Replicas that were made from it stay; while one is being made from it, deleting is refused.

It asks first, and wants the name typed; --yes does without, for scripts.`,
		Example: `  understudy snapshot delete snap-4f7a0c1d2e3f
  understudy snapshot delete snap-4f7a0c1d2e3f --yes`,
		ValidArgsFunction: c.complete(c.snapshotIDs),
		RunE: c.do(func(ctx context.Context, args []string) error {
			name, err := resourceName(snapshotKind, args[0])
			if err != nil {
				return err
			}
			return c.deleteSnapshot(ctx, f, name)
		}),
	}
	f.add(cmd)
	return cmd
}

func (c *cli) deleteSnapshot(ctx context.Context, f *deleteFlags, name string) error {
	requestID, err := f.request()
	if err != nil {
		return err
	}
	if err := c.mayAsk(f); err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, a *api) error {
		s, err := getSnapshot(ctx, a, name)
		if err != nil {
			return err
		}
		warning := fmt.Sprintf("This deletes the snapshot %s of %s (%s).", show.ID(name),
			show.ID(s.GetServer()), trimEnum(s.GetState()))
		if err := c.ask(ctx, f, warning, show.ID(name)); err != nil {
			return err
		}
		answer, err := a.snapshots.DeleteSnapshot(ctx, &cpv1.DeleteSnapshotRequest{
			Name: name, Etag: envOr(f.etag, s.GetEtag()), RequestId: requestID,
			ValidateOnly: f.dryRun})
		if err != nil {
			return lost(err, requestID)
		}
		return c.deleted(ctx, a, f, answer.GetJob())
	})
}
