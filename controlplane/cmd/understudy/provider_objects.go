package main

import (
	"context"

	"github.com/spf13/cobra"

	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newProviderObjects() *cobra.Command {
	var orphans bool
	cmd := &cobra.Command{
		Use: "objects", Short: "List machines, volumes and snapshots of the provider",
		Args: words(nil),
		Long: `List the machines, volumes and snapshots of the provider, with the server or
snapshot that each belongs to. AT is the address of a machine, or the machine
that a volume is attached to.

Objects that no record names are orphans: a failed job left them, or somebody
made them by hand.`,
		Example: `  understudy provider objects
  understudy provider objects --orphans`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.printObjects(ctx, orphans)
		}),
	}
	cmd.Flags().BoolVar(&orphans, "orphans", false, "only those that no record names")
	return cmd
}

func (c *cli) printObjects(ctx context.Context, orphans bool) error {
	return c.call(ctx, func(ctx context.Context, a *api) error {
		all, _, err := pages(0, func(size int32, token string) ([]*cpv1.ProviderObject, string,
			error) {
			page, err := a.providers.ListObjects(ctx,
				&cpv1.ListObjectsRequest{PageSize: size, PageToken: token})
			return page.GetObjects(), page.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		all = filter(all,
			func(o *cpv1.ProviderObject) bool { return !orphans || o.GetOwner() == "" })
		return c.listObjects(&cpv1.ListObjectsResponse{Objects: all}, "no objects")
	})
}
