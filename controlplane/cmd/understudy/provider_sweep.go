package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-db/understudy/controlplane/cmd/understudy/internal/show"
	cpv1 "github.com/understudy-db/understudy/proto/understudy/controlplane/v1"
)

func (c *cli) newProviderSweep() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use: "sweep", Short: "List what jobs left behind at the provider, or remove it",
		Args: words(nil),
		Long: `List the machines, volumes and snapshots that jobs left behind at the provider:
they have the tags of this fleet and of a job that has ended, and no record
names them. With --remove they are removed. Nothing else is ever removed or
listed.

After a failed or cancelled job use "job cleanup", which also removes records
and accounts.`,
		Example: `  understudy provider sweep
  understudy provider sweep --remove`,
		RunE: c.do(func(ctx context.Context, _ []string) error {
			return c.call(ctx, func(ctx context.Context, a *api) error {
				return c.sweep(ctx, a, remove)
			})
		}),
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove what is listed")
	return cmd
}

func (c *cli) sweep(ctx context.Context, a *api, remove bool) error {
	answer, err := a.providers.SweepProvider(ctx, &cpv1.SweepProviderRequest{ValidateOnly: true})
	if err != nil {
		return err
	}
	if remove && len(answer.GetObjects()) > 0 {
		ids := rowsOf(answer.GetObjects(), (*cpv1.ProviderObject).GetId)
		if answer, err = a.providers.SweepProvider(ctx,
			&cpv1.SweepProviderRequest{Ids: ids}); err != nil {
			return err
		}
	}
	err = c.listObjects(answer, "nothing was left behind")
	if busy := answer.GetBusyIds(); err == nil && len(busy) > 0 {
		fmt.Fprintln(c.Stderr, "still in use: "+show.Clean(strings.Join(busy, ", "))+
			"; sweep again in a moment")
	}
	return err
}
